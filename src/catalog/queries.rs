//! The queries over PostgreSQL's system catalogs, good for versions 13 to 18.
//!
//! Never reads user data. Invariant: every name in them is qualified, and every result has a total order.

/// A fingerprint of every catalog row the snapshot is made of: rows that change get another `xmin`.
pub(super) const PROBE: &str = "\
SELECT pg_catalog.count(*), pg_catalog.sum(stamp)::pg_catalog.text FROM (
    SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint) FROM pg_catalog.pg_namespace
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 1) FROM pg_catalog.pg_class
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 2) FROM pg_catalog.pg_proc
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 3) FROM pg_catalog.pg_type
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 4) FROM pg_catalog.pg_rewrite
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 5) FROM pg_catalog.pg_trigger
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 6) FROM pg_catalog.pg_attrdef
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 7) FROM pg_catalog.pg_constraint
    UNION ALL SELECT pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 8) FROM pg_catalog.pg_policy
    UNION ALL SELECT pg_catalog.hashint8extended(
        (attrelid::bigint << 16) | (attnum::bigint & 65535), xmin::text::bigint + 9) FROM pg_catalog.pg_attribute
    UNION ALL SELECT pg_catalog.hashint8extended(
        (inhrelid::bigint << 32) | inhparent::bigint, xmin::text::bigint + 10) FROM pg_catalog.pg_inherits
) AS stamps (stamp)";

/// Relations. `stamp` changes with everything a statement on the relation may set off: triggers, rules, defaults,
/// constraints, row security. It is empty for what came with the server.
pub(super) const RELATIONS: &str = "\
SELECT c.oid, n.nspname, c.relname, c.relkind::pg_catalog.text, c.reltype,
    ARRAY(SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno, i.inhparent),
    c.relhasrules AND EXISTS (
        SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN'),
    c.relhastriggers AND EXISTS (
        SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'),
    CASE WHEN c.oid < 16384 THEN '' ELSE pg_catalog.concat_ws('/', c.relrowsecurity, c.relforcerowsecurity,
        c.reloptions::pg_catalog.text,
        ARRAY(SELECT xmin FROM pg_catalog.pg_trigger WHERE tgrelid = c.oid ORDER BY oid)::pg_catalog.text,
        ARRAY(SELECT xmin FROM pg_catalog.pg_rewrite WHERE ev_class = c.oid ORDER BY oid)::pg_catalog.text,
        ARRAY(SELECT xmin FROM pg_catalog.pg_attrdef WHERE adrelid = c.oid ORDER BY oid)::pg_catalog.text,
        ARRAY(SELECT xmin FROM pg_catalog.pg_constraint WHERE conrelid = c.oid ORDER BY oid)::pg_catalog.text,
        ARRAY(SELECT xmin FROM pg_catalog.pg_policy WHERE polrelid = c.oid ORDER BY oid)::pg_catalog.text) END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY c.oid";

/// Columns, of everything but indexes.
pub(super) const COLUMNS: &str = "\
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.attgenerated <> ''
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind NOT IN ('i', 'I')
ORDER BY a.attrelid, a.attnum";

/// Types. A true array type is the `typarray` of its element, or one of the two built-in vectors.
pub(super) const TYPES: &str = "\
SELECT t.oid, n.nspname, t.typname, t.typtype::pg_catalog.text, t.typcategory::pg_catalog.text, t.typrelid,
    CASE WHEN e.typarray = t.oid OR t.typcategory = 'A' THEN t.typelem ELSE 0 END::pg_catalog.oid, t.typbasetype
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
ORDER BY t.oid";

/// Functions. `stamp` changes with the body of a user's function.
pub(super) const FUNCTIONS: &str = "\
SELECT p.oid, n.nspname, p.proname, p.provolatile::pg_catalog.text, l.lanname, p.prosecdef,
    p.prokind::pg_catalog.text, p.prorettype, p.pronargs,
    p.oid < 16384 AND n.nspname IN ('pg_catalog', 'information_schema'),
    CASE WHEN p.oid < 16384 THEN '' ELSE p.xmin::pg_catalog.text END
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
ORDER BY p.oid";

/// Definitions of all views, and expressions of all generated columns (by relation and attribute number; 0 is the view).
/// These functions lock the relations they speak of, so that they can fail with `lock_not_available`.
pub(super) const DEFINITIONS: &str = "\
SELECT c.oid, 0::pg_catalog.int2, pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT d.adrelid, d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE a.attgenerated <> ''
ORDER BY 1, 2";

/// As [`DEFINITIONS`], for one relation.
pub(super) const DEFINITIONS_OF: &str = "\
SELECT c.oid, 0::pg_catalog.int2, pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.oid = $1
UNION ALL
SELECT d.adrelid, d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE a.attgenerated <> '' AND d.adrelid = $1
ORDER BY 1, 2";
