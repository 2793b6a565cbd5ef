-- An approval can be for a number of rows.
ALTER TABLE countersign.votes ADD COLUMN max_affected bigint;
