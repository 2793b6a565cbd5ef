-- Votes on grants and their transitions that the trail still has to tell of. What earlier versions wrote is taken to be told.
CREATE TABLE grant_tellings (
    grant_id  TEXT    NOT NULL,
    person    TEXT,
    to_state  TEXT,
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX grant_tellings_grant ON grant_tellings (grant_id);
