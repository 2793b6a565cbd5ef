-- Who has approved one text may approve another.
ALTER TABLE countersign.votes ADD COLUMN edited text;
DROP INDEX countersign.votes_once;
