-- What households teach, and what is released of it. Households are named by their id and not by
-- `household.key`: one may send patterns before it has written anything else, and what is kept of it
-- here must go without it too.

-- One row: what is compared and set, so that of several nodes exactly one closes a span of time and
-- no version is given twice.
CREATE TABLE shared (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    life         INTEGER NOT NULL, -- another one after a restore: versions of two lives don't compare
    version      INTEGER NOT NULL, -- of the newest row of `published`
    closed_epoch INTEGER,          -- the last epoch that was closed; null after creation and restore:
    closed_day   INTEGER           -- then all but the open one count as closed, here and for days
) STRICT;
INSERT INTO shared VALUES (1, 0, 0, NULL, NULL);

-- Epochs with contributions that wait. `revision` goes up with whatever changes what waits, so a
-- release that was computed from an older state is not taken.
CREATE TABLE epoch (
    number   INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT;

-- Patterns of an open epoch, as they were decoded: what is counted when it closes, what the next
-- version of each is decoded against until then, and what a household may see of itself. Erased when
-- the epoch closes. Read by household within an epoch, both to decode and to count.
CREATE TABLE waiting (
    epoch     INTEGER NOT NULL,
    household TEXT    NOT NULL,
    pattern   BLOB    NOT NULL, -- 16 bytes
    device    TEXT    NOT NULL, -- whose viewers may take them back
    region    TEXT,
    genre     TEXT    NOT NULL,
    samples   INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    embedding BLOB    NOT NULL, -- 384 signed 16-bit numbers, little endian
    PRIMARY KEY (epoch, household, pattern)
) STRICT, WITHOUT ROWID;

-- Whoever erases contributions, a household's erasure included, changes what a release is made of.
CREATE TRIGGER waiting_erased AFTER DELETE ON waiting BEGIN
    UPDATE epoch SET revision = revision + 1 WHERE number = OLD.epoch;
END;

-- All that stays of a closed epoch: who was counted, so that nobody is counted in it again. Of the
-- years that the ledger still guards.
CREATE TABLE contributed (
    epoch     INTEGER NOT NULL,
    household TEXT    NOT NULL,
    PRIMARY KEY (household, epoch)
) STRICT, WITHOUT ROWID;

-- Households that take no part.
CREATE TABLE opted_out (
    household TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The ledger: what was spent in each year of an account, in trillionths of rho.
CREATE TABLE budget (
    account TEXT    NOT NULL,
    year    INTEGER NOT NULL,
    spent   INTEGER NOT NULL,
    PRIMARY KEY (account, year)
) STRICT, WITHOUT ROWID;

-- Names and public centres of clusters, made once.
CREATE TABLE cluster (
    pattern   INTEGER PRIMARY KEY,
    genre     TEXT    NOT NULL,
    embedding BLOB    NOT NULL
) STRICT;

-- What devices get: global patterns (kind 0) and titles (kind 1), each under the version at which it
-- last changed, so "what changed since" is one range. The second index finds the row that a new
-- version replaces.
CREATE TABLE published (
    version   INTEGER PRIMARY KEY,
    kind      INTEGER NOT NULL,
    place     TEXT    NOT NULL, -- '' is the world
    name      TEXT    NOT NULL,
    genre     TEXT    NOT NULL,
    samples   INTEGER NOT NULL,
    successes INTEGER NOT NULL,
    embedding BLOB    NOT NULL,
    private   INTEGER NOT NULL, -- 0: released without noise
    UNIQUE (kind, place, name)
) STRICT;

-- First plays of a day, until the day is counted. One row however often a title is played.
CREATE TABLE playing (
    day       INTEGER NOT NULL,
    household TEXT    NOT NULL,
    content   TEXT    NOT NULL,
    region    TEXT    NOT NULL,
    PRIMARY KEY (day, household, content)
) STRICT, WITHOUT ROWID;

-- What is remembered of titles by region, made of noisy counts only.
CREATE TABLE course (
    region   TEXT NOT NULL,
    content  TEXT NOT NULL,
    score    REAL NOT NULL,
    fast     REAL NOT NULL,
    slow     REAL NOT NULL,
    variance REAL NOT NULL,
    PRIMARY KEY (region, content)
) STRICT, WITHOUT ROWID;

-- The last day's list of each region, strongest first by `place`.
CREATE TABLE trend (
    region   TEXT    NOT NULL,
    place    INTEGER NOT NULL,
    day      INTEGER NOT NULL,
    content  TEXT    NOT NULL,
    genre    TEXT    NOT NULL,
    strength REAL    NOT NULL,
    private  INTEGER NOT NULL,
    PRIMARY KEY (region, place)
) STRICT, WITHOUT ROWID;
