-- Whose trail still has to tell of it: the installation of the proxy that made it, until that is on stable storage there.
-- Sessions of proxies say who they are; what earlier versions write is taken to be told.
ALTER TABLE countersign.votes ADD COLUMN untold_by text;
ALTER TABLE countersign.votes
    ALTER COLUMN untold_by SET DEFAULT nullif(pg_catalog.current_setting('countersign.installation', true), '');
CREATE INDEX votes_untold ON countersign.votes (untold_by) WHERE untold_by IS NOT NULL;

ALTER TABLE countersign.transitions ADD COLUMN untold_by text;
ALTER TABLE countersign.transitions
    ALTER COLUMN untold_by SET DEFAULT nullif(pg_catalog.current_setting('countersign.installation', true), '');
CREATE INDEX transitions_untold ON countersign.transitions (untold_by) WHERE untold_by IS NOT NULL;

-- What is asked of a group, newest first.
CREATE INDEX demands_group ON countersign.demands (grp, request);

-- By which rules a proxy goes, as a digest.
ALTER TABLE countersign.nodes ADD COLUMN rules text NOT NULL DEFAULT '';
