-- How many commits the household had, those that change no version included. It takes the place of
-- `version` as what, with `epoch`, every commit is compared with: a hello leaves the version as it is,
-- and of two nodes that store one the later must not undo the earlier. 0 is a household without
-- commits, so one that is here has had at least one.
ALTER TABLE household ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
