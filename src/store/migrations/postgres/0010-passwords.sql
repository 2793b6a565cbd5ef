-- Passwords of database clients that live for an hour, as SCRAM verifiers; one of each person.
CREATE TABLE countersign.passwords (
    person      text    NOT NULL PRIMARY KEY,
    credential  bytea   NOT NULL,
    verifier    text    NOT NULL,
    ends_at     bigint  NOT NULL
);

-- Codes that one is had for, by their digests.
CREATE TABLE countersign.password_codes (
    code        bytea   NOT NULL PRIMARY KEY,
    person      text    NOT NULL,
    credential  bytea   NOT NULL,
    ends_at     bigint  NOT NULL
);
