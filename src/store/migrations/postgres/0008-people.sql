-- What the identity provider has said last of people: their groups there, as JSON, and until when that counts.
CREATE TABLE countersign.people (
    person      text    NOT NULL PRIMARY KEY,
    credential  bytea   NOT NULL,
    groups      text    NOT NULL,
    ends_at     bigint  NOT NULL
);
CREATE INDEX people_ends ON countersign.people (ends_at);
