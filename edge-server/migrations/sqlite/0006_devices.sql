-- When each device was heard of last, by the server's clock. It is not part of the household: a heartbeat
-- is no change of it, and a restored backup may be wrong about it. Read as one range when a room starts;
-- written without an fsync of its own, see `store/sqlite/seen.rs`.
CREATE TABLE device_seen (
    household TEXT    NOT NULL,
    device    TEXT    NOT NULL,
    at        INTEGER NOT NULL, -- Unix milliseconds
    PRIMARY KEY (household, device)
) STRICT, WITHOUT ROWID;
