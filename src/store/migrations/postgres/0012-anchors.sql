-- Signed checkpoints of the audit trails of all proxies, as they were written: by installation, the record's number, the
-- SHA-256 of its line, and the line. A row is never changed or removed by a proxy; two of one number show a trail that was forked.
CREATE TABLE countersign.audit_anchors (
    installation text    NOT NULL,
    seq          bigint  NOT NULL,
    hash         text    NOT NULL,
    line         text    NOT NULL,
    kept_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (installation, seq, hash)
);
