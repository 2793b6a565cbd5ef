ALTER TABLE countersign.votes ADD COLUMN offer text, ADD COLUMN forced boolean NOT NULL DEFAULT false;
DROP INDEX countersign.votes_once;
CREATE UNIQUE INDEX votes_once ON countersign.votes (request, person, approve, forced);

CREATE TABLE countersign.grants (
    id          text   COLLATE "C" NOT NULL PRIMARY KEY,
    state       text   NOT NULL,
    version     bigint NOT NULL,
    grantee     text   NOT NULL,
    database    text   NOT NULL,
    expires_at  bigint NOT NULL,
    record      text   NOT NULL
);
CREATE INDEX grants_open ON countersign.grants (id) WHERE state IN ('REQUESTED', 'ACTIVE');
