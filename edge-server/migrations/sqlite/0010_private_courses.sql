-- Whether a course is made of noisy counts only: what was counted without noise goes on in every later
-- list that is made of it. Of those that are here nobody can tell, so a private list begins without them.
ALTER TABLE course ADD COLUMN private INTEGER NOT NULL DEFAULT 0;
