-- Who may still bring back what. A device that knew an earlier life of the database offers what it
-- remembers; after an erasure it must not, and has to forget instead.

-- Epochs that a household had before its backup was restored, since it was erased last if it was:
-- devices that know one of these are owed and welcome. Read as one range when a room starts.
CREATE TABLE life (
    household INTEGER NOT NULL,
    epoch     INTEGER NOT NULL, -- 64 random bits, stored as a signed number
    PRIMARY KEY (household, epoch)
) STRICT, WITHOUT ROWID;

-- Households that were erased: of each only a digest of its id, so that nothing here says who it was
-- to somebody who does not know the id already. Looked up when a room starts.
CREATE TABLE erased (
    household_digest BLOB PRIMARY KEY -- the first 16 bytes of SHA-256 of the id
) STRICT, WITHOUT ROWID;
