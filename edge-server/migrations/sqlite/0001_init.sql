-- Bytes here are written and read by `omega-sync-core`; SQL never looks inside.

-- One row for each household. `key` is a short number that the other tables repeat in each row in
-- place of the id of up to 64 bytes. The unique index on `id` is the look-up when a room starts.
-- `epoch` and `version` are what every commit is compared with.
CREATE TABLE household (
    key     INTEGER PRIMARY KEY,
    id      TEXT    NOT NULL UNIQUE,
    epoch   INTEGER NOT NULL, -- 64 random bits, stored as a signed number
    version INTEGER NOT NULL
) STRICT;

-- The last snapshot. Apart from `household`, whose row changes with each commit: a snapshot may
-- span many pages, which would all be written again.
CREATE TABLE snapshot (
    household INTEGER PRIMARY KEY,
    version   INTEGER NOT NULL,
    state     BLOB    NOT NULL
) STRICT;

-- Log entries. Read as one range per household in the order of versions and deleted as a range from
-- its start, so the primary key is the table (no second tree, no index).
CREATE TABLE log (
    household INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    entry     BLOB    NOT NULL,
    PRIMARY KEY (household, version)
) STRICT, WITHOUT ROWID;

-- What is remembered of each replica. Read as one range per household, replaced one by one.
CREATE TABLE replica (
    household INTEGER NOT NULL,
    replica   INTEGER NOT NULL, -- 64 random bits, stored as a signed number
    state     BLOB    NOT NULL,
    PRIMARY KEY (household, replica)
) STRICT, WITHOUT ROWID;
