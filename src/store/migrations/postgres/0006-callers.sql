-- People who are signed in on the page, by the digest of what is in their cookie.
CREATE TABLE countersign.page_sessions (
    key         bytea   NOT NULL PRIMARY KEY,
    person      text    NOT NULL,
    credential  bytea   NOT NULL,
    opened_at   bigint  NOT NULL,
    ends_at     bigint  NOT NULL
);
CREATE INDEX page_sessions_person ON countersign.page_sessions (person, opened_at);
CREATE INDEX page_sessions_ends ON countersign.page_sessions (ends_at);

-- Calls that are done once, however often they are sent, and what they were answered with.
CREATE TABLE countersign.calls (
    caller   text    NOT NULL,
    key      bytea   NOT NULL,
    request  bytea   NOT NULL,
    ends_at  bigint  NOT NULL,
    status   integer,
    answer   text,
    PRIMARY KEY (caller, key)
);
CREATE INDEX calls_ends ON countersign.calls (ends_at);

-- One row for each node, written to see whether that can be done.
CREATE TABLE countersign.probes (
    node  bigint  NOT NULL PRIMARY KEY,
    at    bigint  NOT NULL
);
