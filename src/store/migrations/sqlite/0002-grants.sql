ALTER TABLE votes ADD COLUMN offer TEXT;
ALTER TABLE votes ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
DROP INDEX votes_once;
CREATE UNIQUE INDEX votes_once ON votes (request, person, approve, forced);

CREATE TABLE grants (
    id          TEXT    NOT NULL PRIMARY KEY,
    state       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    grantee     TEXT    NOT NULL,
    database    TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL,
    record      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_open ON grants (expires_at) WHERE state IN ('REQUESTED', 'ACTIVE');
