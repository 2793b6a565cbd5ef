-- An approval can be for a number of rows.
ALTER TABLE votes ADD COLUMN max_affected INTEGER;
