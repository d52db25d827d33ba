-- Who may come in, and who may not any more. No token is here and no secret, only their digests.

-- Devices that were paired: each may fetch tokens with its refresh token, which changes with each use.
-- One row for each device, found by the id that its refresh tokens begin with; the unique index is
-- there to replace the row when the device is paired again, and to delete it when it is forgotten.
CREATE TABLE pairing (
    id        BLOB    PRIMARY KEY, -- 16 random bytes
    household TEXT    NOT NULL,
    device    TEXT    NOT NULL,
    scope     TEXT    NOT NULL,
    current   BLOB    NOT NULL, -- SHA-256 of the refresh token that is next
    previous  BLOB    NOT NULL, -- SHA-256 of the one before, which counts until `current` was used
    ends      INTEGER NOT NULL, -- Unix milliseconds; put off with each use
    UNIQUE (household, device)
) STRICT, WITHOUT ROWID;

-- What a household's members confirm a pairing with in a browser.
CREATE TABLE pairing_key (
    household TEXT PRIMARY KEY,
    digest    BLOB NOT NULL -- SHA-256
) STRICT, WITHOUT ROWID;

-- Tokens that were issued up to a time and count no more: of a household, or of one of its devices.
-- Whose they are is a digest, so that a row outlives the household's erasure and tells nothing of it.
-- All rows are read at the start.
CREATE TABLE not_before (
    owner BLOB    PRIMARY KEY, -- the first 16 bytes of SHA-256 of household, line feed, device
    at    INTEGER NOT NULL     -- Unix seconds, as tokens have them
) STRICT, WITHOUT ROWID;

-- Single tokens that count no more, by their `jti`, until they would have ended. All rows are read at
-- the start; those that have ended are deleted when another comes.
CREATE TABLE revoked_token (
    id   TEXT    PRIMARY KEY,
    ends INTEGER NOT NULL -- Unix seconds
) STRICT, WITHOUT ROWID;
