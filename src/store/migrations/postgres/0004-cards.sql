-- Requests are found and counted by what they have in common.
ALTER TABLE countersign.requests
    ADD COLUMN shape text NOT NULL DEFAULT '',
    ADD COLUMN rules text NOT NULL DEFAULT '[]';
UPDATE countersign.requests SET
    shape = coalesce(trim(BOTH '"' FROM (facts::json -> 'shape')::text), ''),
    rules = coalesce((facts::json -> 'rules')::text, '[]');
CREATE INDEX requests_shape ON countersign.requests (shape, database, id) WHERE shape <> '';

-- A reason that was given after the request was made.
ALTER TABLE countersign.requests ADD COLUMN justification text;

CREATE TABLE countersign.cards (
    request  text  COLLATE "C" NOT NULL PRIMARY KEY REFERENCES countersign.requests (id),
    card     text  NOT NULL
);

CREATE TABLE countersign.comments (
    request  text    COLLATE "C" NOT NULL REFERENCES countersign.requests (id),
    seq      bigint  NOT NULL,
    person   text    NOT NULL,
    surface  text    NOT NULL,
    at       bigint  NOT NULL,
    comment  text    NOT NULL,
    PRIMARY KEY (request, seq)
);
