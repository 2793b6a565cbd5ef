CREATE TABLE countersign.nodes (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation  text        NOT NULL,
    lease_ms      bigint      NOT NULL,
    -- The lease has been kept up without a gap since then.
    since         timestamptz NOT NULL,
    lease_until   timestamptz NOT NULL,
    gone          boolean     NOT NULL DEFAULT false
);

CREATE TABLE countersign.requests (
    id          text   COLLATE "C" NOT NULL PRIMARY KEY,
    state       text   NOT NULL,
    version     bigint NOT NULL,
    requester   text   NOT NULL,
    database    text   NOT NULL,
    binding     bytea  NOT NULL,
    mode        text   NOT NULL,
    facts       text   NOT NULL,
    created_at  bigint NOT NULL,
    expires_at  bigint NOT NULL,
    decided_at  bigint,
    outcome     text,
    -- Whose session waits for it or runs it.
    node        bigint,
    -- The groups of its demands, to be found by.
    reviewers   text[] NOT NULL
);
CREATE INDEX requests_open ON countersign.requests (expires_at) WHERE state IN ('PENDING', 'APPROVED');
CREATE INDEX requests_binding ON countersign.requests (binding) WHERE state IN ('PENDING', 'APPROVED') AND mode <> 'wait';
CREATE INDEX requests_state ON countersign.requests (state, id);
CREATE INDEX requests_requester ON countersign.requests (requester, id);
CREATE INDEX requests_database ON countersign.requests (database, id);
CREATE INDEX requests_reviewers ON countersign.requests USING gin (reviewers);
CREATE INDEX requests_node ON countersign.requests (node)
    WHERE node IS NOT NULL AND state IN ('PENDING', 'APPROVED', 'EXECUTING');

CREATE TABLE countersign.demands (
    request    text   COLLATE "C" NOT NULL REFERENCES countersign.requests (id),
    seq        bigint NOT NULL,
    grp        text   NOT NULL,
    approvals  bigint NOT NULL,
    PRIMARY KEY (request, seq)
);

CREATE TABLE countersign.votes (
    request  text    COLLATE "C" NOT NULL REFERENCES countersign.requests (id),
    seq      bigint  NOT NULL,
    person   text    NOT NULL,
    groups   text[]  NOT NULL,
    approve  boolean NOT NULL,
    reason   text,
    at       bigint  NOT NULL,
    surface  text    NOT NULL,
    PRIMARY KEY (request, seq)
);
CREATE UNIQUE INDEX votes_once ON countersign.votes (request, person, approve);

CREATE TABLE countersign.transitions (
    request     text   COLLATE "C" NOT NULL REFERENCES countersign.requests (id),
    seq         bigint NOT NULL,
    from_state  text,
    to_state    text   NOT NULL,
    person      text   NOT NULL,
    surface     text   NOT NULL,
    at          bigint NOT NULL,
    reason      text,
    PRIMARY KEY (request, seq)
);
