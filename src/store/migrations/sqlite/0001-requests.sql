CREATE TABLE requests (
    id          TEXT    NOT NULL PRIMARY KEY,
    state       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    requester   TEXT    NOT NULL,
    database    TEXT    NOT NULL,
    binding     BLOB    NOT NULL,
    mode        TEXT    NOT NULL,
    facts       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    decided_at  INTEGER,
    outcome     TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_open ON requests (expires_at) WHERE state IN ('PENDING', 'APPROVED');
CREATE INDEX requests_binding ON requests (binding) WHERE state IN ('PENDING', 'APPROVED') AND mode <> 'wait';
CREATE INDEX requests_state ON requests (state, id);
CREATE INDEX requests_requester ON requests (requester, id);

CREATE TABLE demands (
    request    TEXT    NOT NULL REFERENCES requests (id),
    seq        INTEGER NOT NULL,
    grp        TEXT    NOT NULL,
    approvals  INTEGER NOT NULL,
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE votes (
    request  TEXT    NOT NULL REFERENCES requests (id),
    seq      INTEGER NOT NULL,
    person   TEXT    NOT NULL,
    groups   TEXT    NOT NULL,
    approve  INTEGER NOT NULL,
    reason   TEXT,
    at       INTEGER NOT NULL,
    surface  TEXT    NOT NULL,
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX votes_once ON votes (request, person, approve);

CREATE TABLE transitions (
    request     TEXT    NOT NULL REFERENCES requests (id),
    seq         INTEGER NOT NULL,
    from_state  TEXT,
    to_state    TEXT    NOT NULL,
    person      TEXT    NOT NULL,
    surface     TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    reason      TEXT,
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;
