-- Requests are found and counted by what they have in common.
ALTER TABLE requests ADD COLUMN shape TEXT NOT NULL DEFAULT '';
ALTER TABLE requests ADD COLUMN rules TEXT NOT NULL DEFAULT '[]';
UPDATE requests SET
    shape = coalesce(json_extract(facts, '$.shape'), ''),
    rules = coalesce(json_extract(facts, '$.rules'), '[]');
CREATE INDEX requests_shape ON requests (shape, database, id, requester, state) WHERE shape <> '';
CREATE INDEX requests_counted ON requests (id, requester, database, created_at, shape, rules);

-- A reason that was given after the request was made.
ALTER TABLE requests ADD COLUMN justification TEXT;

CREATE TABLE cards (
    request  TEXT  NOT NULL PRIMARY KEY REFERENCES requests (id),
    card     TEXT  NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE comments (
    request  TEXT     NOT NULL REFERENCES requests (id),
    seq      INTEGER  NOT NULL,
    person   TEXT     NOT NULL,
    surface  TEXT     NOT NULL,
    at       INTEGER  NOT NULL,
    comment  TEXT     NOT NULL,
    PRIMARY KEY (request, seq)
) STRICT, WITHOUT ROWID;
