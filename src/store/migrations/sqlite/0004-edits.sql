-- Who has approved one text may approve another.
ALTER TABLE votes ADD COLUMN edited TEXT;
DROP INDEX votes_once;
