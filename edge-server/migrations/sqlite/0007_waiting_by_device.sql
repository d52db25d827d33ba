-- Devices number their patterns themselves: a name says which only beside its device.
CREATE TABLE waiting_by_device (
    epoch     INTEGER NOT NULL,
    household TEXT    NOT NULL,
    device    TEXT    NOT NULL, -- whose viewers may take them back
    pattern   BLOB    NOT NULL, -- 16 bytes
    region    TEXT,
    genre     TEXT    NOT NULL,
    samples   INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    embedding BLOB    NOT NULL, -- 384 signed 16-bit numbers, little endian
    PRIMARY KEY (epoch, household, device, pattern)
) STRICT, WITHOUT ROWID;
INSERT INTO waiting_by_device
    SELECT epoch, household, device, pattern, region, genre, samples, successes, embedding FROM waiting;
DROP TABLE waiting; -- and its trigger; dropping is no erasure, so nothing is counted up
ALTER TABLE waiting_by_device RENAME TO waiting;
CREATE TRIGGER waiting_erased AFTER DELETE ON waiting BEGIN
    UPDATE epoch SET revision = revision + 1 WHERE number = OLD.epoch;
END;
