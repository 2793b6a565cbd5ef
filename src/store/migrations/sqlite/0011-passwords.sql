-- Passwords of database clients that live for an hour, as SCRAM verifiers; one of each person.
CREATE TABLE passwords (
    person      TEXT     NOT NULL PRIMARY KEY,
    credential  BLOB     NOT NULL,
    verifier    TEXT     NOT NULL,
    ends_at     INTEGER  NOT NULL
) STRICT, WITHOUT ROWID;

-- Codes that one is had for, by their digests.
CREATE TABLE password_codes (
    code        BLOB     NOT NULL PRIMARY KEY,
    person      TEXT     NOT NULL,
    credential  BLOB     NOT NULL,
    ends_at     INTEGER  NOT NULL
) STRICT, WITHOUT ROWID;
