-- People who are signed in on the page, by the digest of what is in their cookie.
CREATE TABLE page_sessions (
    key         BLOB     NOT NULL PRIMARY KEY,
    person      TEXT     NOT NULL,
    credential  BLOB     NOT NULL,
    opened_at   INTEGER  NOT NULL,
    ends_at     INTEGER  NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX page_sessions_person ON page_sessions (person, opened_at);
CREATE INDEX page_sessions_ends ON page_sessions (ends_at);

-- Calls that are done once, however often they are sent, and what they were answered with.
CREATE TABLE calls (
    caller   TEXT     NOT NULL,
    key      BLOB     NOT NULL,
    request  BLOB     NOT NULL,
    ends_at  INTEGER  NOT NULL,
    status   INTEGER,
    answer   TEXT,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX calls_ends ON calls (ends_at);

-- One row, written to see whether that can be done.
CREATE TABLE probes (
    id  INTEGER  NOT NULL PRIMARY KEY,
    at  INTEGER  NOT NULL
) STRICT;
