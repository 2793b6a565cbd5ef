-- What the identity provider has said last of people: their groups there, as JSON, and until when that counts.
CREATE TABLE people (
    person      TEXT     NOT NULL PRIMARY KEY,
    credential  BLOB     NOT NULL,
    groups      TEXT     NOT NULL,
    ends_at     INTEGER  NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX people_ends ON people (ends_at);
