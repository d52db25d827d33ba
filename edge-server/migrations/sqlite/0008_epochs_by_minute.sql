-- An epoch's number is the minute, counted from 1970, that follows it. It was a count of epochs since
-- then, which meant another time as soon as the number of releases in a year was another.

-- What came before now is closed, and what waits is counted in this quarter, the epoch of a server
-- whose releases nobody has changed; any other server counts it when it closes an epoch that ends later.
UPDATE shared SET closed_epoch = unixepoch() / 60 WHERE closed_epoch IS NOT NULL;
UPDATE OR REPLACE waiting SET epoch = (unixepoch() / 60 / 131400 + 1) * 131400;
DELETE FROM epoch;
INSERT INTO epoch (number, revision)
    SELECT epoch, count(*) FROM waiting GROUP BY epoch;
-- Who was counted in epochs whose times nobody can tell any more.
DELETE FROM contributed;
