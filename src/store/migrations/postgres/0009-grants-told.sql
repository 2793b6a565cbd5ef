-- Votes on grants and their transitions that a trail still has to tell of, and whose: the installation of the proxy that made
-- them. What earlier versions write is taken to be told.
CREATE TABLE countersign.grant_tellings (
    grant_id   text   COLLATE "C" NOT NULL,
    person     text,
    to_state   text,
    at         bigint NOT NULL,
    untold_by  text   NOT NULL DEFAULT pg_catalog.current_setting('countersign.installation')
);
CREATE INDEX grant_tellings_grant ON countersign.grant_tellings (grant_id);
