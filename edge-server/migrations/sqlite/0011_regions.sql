-- Where a paired device's household is, for its tokens: said by whoever allowed it, with a token or with
-- the household's key. Null: nobody said it.
ALTER TABLE pairing ADD COLUMN region TEXT;
ALTER TABLE pairing_key ADD COLUMN region TEXT;
