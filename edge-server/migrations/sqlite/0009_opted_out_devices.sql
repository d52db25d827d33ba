-- Devices whose viewers turned learning off. While a household has one, it is not noted which titles the
-- household begins: whose television was on is not known there.
CREATE TABLE opted_out_device (
    household TEXT NOT NULL,
    device    TEXT NOT NULL,
    PRIMARY KEY (household, device)
) STRICT, WITHOUT ROWID;
