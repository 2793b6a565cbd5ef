//! The queries over PostgreSQL's system catalogs, good for versions 13 to 18.
//!
//! Never reads user data. Invariant: every name in them is qualified, and every result has a total order.

/// A fingerprint of every catalog row the snapshot is made of: rows that change get another `xmin`. The last column is
/// the part of it that stands for what came with the server.
pub(super) const PROBE: &str = "\
SELECT pg_catalog.count(*), pg_catalog.sum(stamp)::pg_catalog.text,
    pg_catalog.sum(stamp) FILTER (WHERE oid < 16384)::pg_catalog.text FROM (
    SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint) FROM pg_catalog.pg_namespace
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 1) FROM pg_catalog.pg_class
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 2) FROM pg_catalog.pg_proc
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 3) FROM pg_catalog.pg_type
    UNION ALL SELECT ev_class, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 4) FROM pg_catalog.pg_rewrite
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 5) FROM pg_catalog.pg_trigger
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 6) FROM pg_catalog.pg_attrdef
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 7) FROM pg_catalog.pg_constraint
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 8) FROM pg_catalog.pg_policy
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 11) FROM pg_catalog.pg_operator
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 12) FROM pg_catalog.pg_cast
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 13) FROM pg_catalog.pg_event_trigger
    UNION ALL SELECT oid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 14) FROM pg_catalog.pg_statistic_ext
    UNION ALL SELECT attrelid, pg_catalog.hashint8extended(
        (attrelid::bigint << 16) | (attnum::bigint & 65535), xmin::text::bigint + 9) FROM pg_catalog.pg_attribute
    UNION ALL SELECT inhrelid, pg_catalog.hashint8extended(
        (inhrelid::bigint << 32) | inhparent::bigint, xmin::text::bigint + 10) FROM pg_catalog.pg_inherits
) AS stamps (oid, stamp)";

/// Relations. `stamp` changes with everything a statement on the relation may set off: triggers, rules, defaults,
/// constraints, row security. It is empty for what came with the server.
pub(super) const RELATIONS: &str = "\
SELECT c.oid, n.nspname, c.relname, c.relkind::pg_catalog.text, c.reltype, COALESCE(i.parents, '{}'),
    c.relhasrules AND EXISTS (
        SELECT FROM pg_catalog.pg_rewrite r
        WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN' AND r.ev_enabled <> 'D'),
    CASE WHEN c.oid < 16384 THEN '' ELSE pg_catalog.concat_ws('/', c.relrowsecurity, c.relforcerowsecurity,
        c.reloptions::pg_catalog.text, parts.stamp) END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN (
        SELECT inhrelid, pg_catalog.array_agg(inhparent ORDER BY inhseqno, inhparent) AS parents
        FROM pg_catalog.pg_inherits GROUP BY inhrelid) AS i ON i.inhrelid = c.oid
    LEFT JOIN (
        SELECT relation, pg_catalog.string_agg(kind || stamp, '/' ORDER BY kind, oid) AS stamp FROM (
            SELECT tgrelid, 't', oid, xmin::pg_catalog.text FROM pg_catalog.pg_trigger
            UNION ALL SELECT ev_class, 'r', oid, xmin::pg_catalog.text FROM pg_catalog.pg_rewrite
            UNION ALL SELECT adrelid, 'd', oid, xmin::pg_catalog.text FROM pg_catalog.pg_attrdef
            UNION ALL SELECT conrelid, 'c', oid, xmin::pg_catalog.text FROM pg_catalog.pg_constraint
            UNION ALL SELECT polrelid, 'p', oid, xmin::pg_catalog.text FROM pg_catalog.pg_policy
        ) AS part (relation, kind, oid, stamp) GROUP BY relation) AS parts ON parts.relation = c.oid
ORDER BY c.oid";

/// Names for what the queries below ask again and again. `contains`: types that are made of others, by domain, array,
/// composite type and range; `checked`: users' functions that run when a value of the type is made, checks of domains in it;
/// `called`: users' functions that the expressions of an object call, by themselves, by operators, and by types they make.
macro_rules! with_called {
    ($query:literal) => {
        concat!(
            "\
WITH RECURSIVE contains (whole, part) AS (
    SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
    UNION ALL SELECT t.oid, t.typelem FROM pg_catalog.pg_type t WHERE t.typelem >= 16384
    UNION ALL SELECT c.reltype, a.atttypid FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        WHERE a.atttypid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND c.reltype <> 0
    UNION ALL SELECT r.type, r.rngsubtype
        FROM (SELECT rngsubtype, pg_catalog.unnest(ARRAY[rngtypid,
                (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::pg_catalog.oid]) AS type
            FROM pg_catalog.pg_range r WHERE r.rngsubtype >= 16384) AS r
), calls (classid, objid, function) AS (
    SELECT d.classid, d.objid, d.refobjid FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
    UNION ALL
    SELECT d.classid, d.objid, o.oprcode::pg_catalog.oid
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_operator o ON o.oid = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oprcode >= 16384
), checked (type, function) AS (
    SELECT c.contypid, d.function FROM pg_catalog.pg_constraint c
        JOIN calls d ON d.objid = c.oid AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
    WHERE c.contypid <> 0
    UNION SELECT k.whole, d.function FROM checked d JOIN contains k ON k.part = d.type
), called (classid, objid, function) AS (
    SELECT classid, objid, function FROM calls
    UNION SELECT d.classid, d.objid, k.function FROM pg_catalog.pg_depend d JOIN checked k ON k.type = d.refobjid
    WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
)
",
            $query
        )
    };
}

/// What statements on relations set off: by relation, the effects (1 insert, 2 update, 4 delete, 8 truncate, 16 maintenance,
/// 32 drop, 64 alter, 128 select), the columns that an update must assign or that must be dropped, and what happens: `c` calls
/// a function; `d`, `u`, `t`, `x`, `a` and `r` delete from, update, truncate, drop, alter and read a relation. Triggers; actions
/// of foreign keys; users' functions in defaults, check constraints (also of domains), casts, indexes, extended statistics, partition
/// keys and row security policies, and what these policies read; what CASCADE drops or alters: views, foreign keys, rules, policies,
/// defaults, and tables OF the type. What views and rules call is set off by nothing here, and goes with the function.
pub(super) const CONSEQUENCES: &str = with_called!(
    "\
SELECT t.tgrelid, (CASE WHEN t.tgtype & 4 <> 0 THEN 1 ELSE 0 END + CASE WHEN t.tgtype & 16 <> 0 THEN 2 ELSE 0 END
        + CASE WHEN t.tgtype & 8 <> 0 THEN 4 ELSE 0 END + CASE WHEN t.tgtype & 32 <> 0 THEN 8 ELSE 0 END),
    t.tgattr::pg_catalog.int2[], 'c', t.tgfoid
FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
UNION ALL
SELECT t.tgrelid, (CASE WHEN t.tgtype & 4 <> 0 THEN 1 ELSE 0 END + CASE WHEN t.tgtype & 16 <> 0 THEN 2 ELSE 0 END
        + CASE WHEN t.tgtype & 8 <> 0 THEN 4 ELSE 0 END + CASE WHEN t.tgtype & 32 <> 0 THEN 8 ELSE 0 END),
    t.tgattr::pg_catalog.int2[], 'c', d.function
FROM pg_catalog.pg_trigger t JOIN called d ON d.objid = t.oid
    AND d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.function <> t.tgfoid
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
UNION ALL
SELECT c.confrelid, 4, '{}', CASE c.confdeltype WHEN 'c' THEN 'd' ELSE 'u' END, c.conrelid
FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd')
UNION ALL
SELECT c.confrelid, 2, c.confkey, 'u', c.conrelid
FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.confupdtype IN ('c', 'n', 'd')
UNION ALL
SELECT c.confrelid, 8, '{}', 't', c.conrelid FROM pg_catalog.pg_constraint c WHERE c.contype = 'f'
UNION ALL
SELECT a.adrelid, CASE WHEN c.attgenerated = '' THEN 3 ELSE 67 END, '{}', 'c', d.function
FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_attribute c ON c.attrelid = a.adrelid AND c.attnum = a.adnum
    JOIN called d ON d.objid = a.oid AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
UNION ALL
SELECT c.conrelid, 67, '{}', 'c', d.function
FROM pg_catalog.pg_constraint c
    JOIN called d ON d.objid = c.oid AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
WHERE c.contype = 'c' AND c.conrelid <> 0
UNION ALL
SELECT a.attrelid, m.bits, CASE WHEN m.bits = 3 THEN ARRAY[a.attnum] ELSE '{}' END, 'c', m.function
FROM (SELECT type, 3, function FROM checked
        UNION SELECT t.oid, 3, d.function FROM pg_catalog.pg_type t
            JOIN called d ON d.objid = t.oid AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
            WHERE t.typtype = 'd'
        UNION SELECT c.type, c.bits, p.oid
            FROM (SELECT casttarget, 3, castfunc FROM pg_catalog.pg_cast
                    WHERE castcontext <> 'e' AND (castsource < 16384 OR casttarget >= 16384)
                UNION ALL SELECT castsource, 135, castfunc FROM pg_catalog.pg_cast
                    WHERE castsource >= 16384 OR (casttarget < 16384 AND castcontext = 'i')) AS c (type, bits, function)
            JOIN pg_catalog.pg_proc p ON p.oid = c.function AND p.oid >= 16384
            JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname NOT IN ('c', 'internal')
    ) AS m (type, bits, function)
    JOIN pg_catalog.pg_attribute a ON a.atttypid = m.type AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind IN ('r', 'p', 'f', 'v') AND r.oid >= 16384
UNION ALL
SELECT COALESCE(i.indrelid, d.objid), 83, '{}', 'c', d.function
FROM called d LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = d.objid
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
    AND (i.indexrelid IS NOT NULL OR EXISTS (SELECT FROM pg_catalog.pg_partitioned_table p WHERE p.partrelid = d.objid))
UNION ALL
SELECT s.stxrelid, 16, '{}', 'c', d.function
FROM pg_catalog.pg_statistic_ext s
    JOIN called d ON d.objid = s.oid AND d.classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
UNION ALL
SELECT r.ev_class, 0, '{}', 'c', d.function
FROM pg_catalog.pg_rewrite r
    JOIN called d ON d.objid = r.oid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
GROUP BY 1, 5
UNION ALL
SELECT p.polrelid, 135, '{}', d.what, d.reached
FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class t ON t.oid = p.polrelid AND t.relrowsecurity
    JOIN (
        SELECT classid, objid, 'c', function FROM called
        UNION ALL SELECT classid, objid, 'r', refobjid FROM pg_catalog.pg_depend
            WHERE refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) AS d (classid, objid, what, reached)
    ON d.objid = p.oid AND d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
        AND (d.what = 'c' OR d.reached <> p.polrelid)
GROUP BY 1, 4, 5
UNION ALL
SELECT c.confrelid, 32, c.confkey, 'a', c.conrelid
FROM pg_catalog.pg_constraint c WHERE c.contype = 'f' AND c.conrelid <> c.confrelid
UNION ALL
SELECT * FROM (
    SELECT d.refobjid AS named, 32, CASE WHEN pg_catalog.min(d.refobjsubid) = 0 THEN '{}'
            ELSE pg_catalog.array_agg(DISTINCT d.refobjsubid::pg_catalog.int2) END,
        CASE WHEN r.rulename = '_RETURN' THEN 'x' ELSE 'a' END, COALESCE(r.ev_class, p.polrelid, a.adrelid) AS reached
    FROM pg_catalog.pg_depend d
        LEFT JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_policy p ON p.oid = d.objid AND d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
    WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid >= 16384
    GROUP BY 1, 4, 5) AS definitions
WHERE reached <> named
UNION ALL
SELECT t.typrelid, how.bit, '{}', how.what, c.oid
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_type t ON t.oid = c.reloftype,
    (VALUES (32, 'x'), (64, 'a')) AS how (bit, what)
WHERE c.reloftype <> 0
ORDER BY 1, 2, 3, 4, 5"
);

/// Schemas with objects that are no relations, types or functions and that others depend on: collations, operators, their
/// classes and families, text search objects.
pub(super) const ENTANGLED_SCHEMAS: &str = "\
SELECT DISTINCT o.schema COLLATE \"C\"
FROM (SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d
        WHERE d.refobjid >= 16384 AND d.deptype = 'n' AND d.refclassid IN (
            'pg_catalog.pg_collation'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
            'pg_catalog.pg_opclass'::pg_catalog.regclass, 'pg_catalog.pg_opfamily'::pg_catalog.regclass,
            'pg_catalog.pg_ts_config'::pg_catalog.regclass, 'pg_catalog.pg_ts_dict'::pg_catalog.regclass)
        GROUP BY 1, 2) AS d,
    LATERAL pg_catalog.pg_identify_object(d.refclassid, d.refobjid, 0) AS o
WHERE o.schema IS NOT NULL ORDER BY 1";

/// Event triggers. Those for replication count as well, as triggers on tables do: which sessions are replicating is not known.
pub(super) const EVENT_TRIGGERS: &str = "\
SELECT e.evtname, e.evtevent, COALESCE(e.evttags, '{}'), e.evtfoid
FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled <> 'D' ORDER BY e.oid";

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

/// Functions; operators that did not come with the server, under their names; and users' functions
/// of casts, by either type, and those that run when a value of a type is made, as `cast:` and the type's name. `stamp` changes with the body of a
/// user's function. The last two columns are the defaults of its arguments, and the functions in the checks of domains in its
/// signature, also inside of rows, arrays and ranges; then OIDs, schemas and names of the functions that an operator, cast or aggregate of users is made of. A user's aggregate is as volatile as the most volatile of the functions it is made of (`i` < `s` <
/// `v`), and written in the language of one of them that is not C, if there is any.
pub(super) const FUNCTIONS: &str = with_called!(
    "\
SELECT p.oid, n.nspname, p.proname, COALESCE(g.volatility, p.provolatile::pg_catalog.text),
    COALESCE(g.language, l.lanname), p.prosecdef, p.prokind::pg_catalog.text, p.prorettype, p.pronargs,
    p.oid < 16384 AND n.nspname IN ('pg_catalog', 'information_schema'),
    CASE WHEN p.oid < 16384 THEN '' ELSE p.xmin::pg_catalog.text END,
    CASE WHEN p.oid >= 16384 AND l.lanname = 'sql' AND p.prokind IN ('f', 'p') THEN NULLIF(p.prosrc, '') END,
    p.proargnames, p.proconfig, p.oid,
    CASE WHEN p.oid >= 16384 AND p.provolatile <> 'v' AND l.lanname NOT IN ('c', 'internal')
        THEN pg_catalog.concat_ws(' ', p.prosrc,
            CASE WHEN p.pronargdefaults > 0 THEN pg_catalog.pg_get_function_arguments(p.oid) END) END,
    CASE WHEN p.oid >= 16384 THEN pg_catalog.pg_get_expr(p.proargdefaults, 0) END,
    CASE WHEN p.oid >= 16384 THEN ARRAY(
        SELECT DISTINCT k.function FROM checked k
        WHERE k.type = p.prorettype OR k.type = ANY (p.proargtypes) OR k.type = ANY (p.proallargtypes)
        ORDER BY 1) END, g.oids, g.schemas, g.names
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    LEFT JOIN LATERAL (
        SELECT pg_catalog.max(f.provolatile::pg_catalog.text) AS volatility,
            pg_catalog.max(m.lanname::pg_catalog.text) FILTER (WHERE m.lanname NOT IN ('c', 'internal')) AS language,
            pg_catalog.array_agg(f.oid ORDER BY f.oid) AS oids,
            pg_catalog.array_agg(s.nspname::pg_catalog.text ORDER BY f.oid) AS schemas,
            pg_catalog.array_agg(f.proname::pg_catalog.text ORDER BY f.oid) AS names
        FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc f ON f.oid IN (a.aggtransfn, a.aggfinalfn,
                a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
            JOIN pg_catalog.pg_language m ON m.oid = f.prolang
            JOIN pg_catalog.pg_namespace s ON s.oid = f.pronamespace
        WHERE p.prokind = 'a' AND p.oid >= 16384 AND a.aggfnoid = p.oid) g ON true
UNION ALL
SELECT o.oid, n.nspname, o.oprname, p.provolatile::pg_catalog.text, l.lanname, p.prosecdef, 'f', o.oprresult,
    p.pronargs, false, pg_catalog.concat_ws('/', o.xmin, p.xmin), NULL, NULL, NULL, p.oid, NULL, NULL, NULL,
    ARRAY[p.oid], ARRAY[s.nspname::pg_catalog.text], ARRAY[p.proname::pg_catalog.text]
FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
    JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
WHERE o.oid >= 16384
UNION ALL
SELECT c.oid, n.nspname, 'cast:' || t.typname, p.provolatile::pg_catalog.text, l.lanname, p.prosecdef, 'f',
    c.casttarget, p.pronargs, false, pg_catalog.concat_ws('/', c.xmin, p.xmin), NULL, NULL, NULL, p.oid, NULL, NULL, NULL,
    ARRAY[p.oid], ARRAY[s.nspname::pg_catalog.text], ARRAY[p.proname::pg_catalog.text]
FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
    JOIN pg_catalog.pg_type t ON t.oid IN (c.castsource, c.casttarget)
        AND (t.oid >= 16384 OR GREATEST(c.castsource, c.casttarget) < 16384)
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
WHERE p.oid >= 16384 OR c.oid >= 16384
UNION ALL
SELECT t.oid, n.nspname, 'cast:' || t.typname, p.provolatile::pg_catalog.text, l.lanname, p.prosecdef, 'f', t.oid,
    p.pronargs, false, p.xmin::pg_catalog.text, NULL, NULL, NULL, p.oid, NULL, NULL, NULL,
    ARRAY[p.oid], ARRAY[s.nspname::pg_catalog.text], ARRAY[p.proname::pg_catalog.text]
FROM checked k JOIN pg_catalog.pg_type t ON t.oid = k.type JOIN pg_catalog.pg_proc p ON p.oid = k.function
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
ORDER BY 1, 3, 15"
);

/// What may read custom settings: bodies of functions as texts, and expressions with calls of `current_setting` as they are
/// stored. `stamp` of its object changes with each of them, so that they need none of their own.
pub(super) const SETTINGS: &str = "\
SELECT p.prosrc, false FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal') AND pg_catalog.strpos(pg_catalog.lower(p.prosrc), 'current_setting') > 0
UNION ALL
SELECT tree, true FROM (
    SELECT ev_action::pg_catalog.text FROM pg_catalog.pg_rewrite WHERE ev_class >= 16384
    UNION ALL SELECT ev_qual::pg_catalog.text FROM pg_catalog.pg_rewrite WHERE ev_class >= 16384
    UNION ALL SELECT polqual::pg_catalog.text FROM pg_catalog.pg_policy
    UNION ALL SELECT polwithcheck::pg_catalog.text FROM pg_catalog.pg_policy
    UNION ALL SELECT adbin::pg_catalog.text FROM pg_catalog.pg_attrdef
    UNION ALL SELECT conbin::pg_catalog.text FROM pg_catalog.pg_constraint WHERE oid >= 16384
    UNION ALL SELECT tgqual::pg_catalog.text FROM pg_catalog.pg_trigger
    UNION ALL SELECT proargdefaults::pg_catalog.text FROM pg_catalog.pg_proc WHERE oid >= 16384
    UNION ALL SELECT typdefaultbin::pg_catalog.text FROM pg_catalog.pg_type WHERE oid >= 16384) AS stored (tree)
WHERE tree ~ ':funcid (2077|3294) '
ORDER BY 1, 2";

/// The version of the server as a number: 150020 stands for 15.20.
pub(super) const SERVER_VERSION: &str = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4";

/// Users' functions whose body was parsed when they were made. Since PostgreSQL 14.
pub(super) const WITH_SQL_BODY: &str =
    "SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.prosqlbody IS NOT NULL AND p.oid >= 16384 ORDER BY p.oid";

/// The bodies of some of them. Locks the relations they speak of, as [`DEFINITIONS`] does.
pub(super) const SQL_BODIES: &str = "\
SELECT p.oid, pg_catalog.pg_get_function_sqlbody(p.oid) FROM pg_catalog.pg_proc p WHERE p.oid = ANY ($1) ORDER BY p.oid";

/// Definitions of views, expressions of generated columns, and rules (by relation and attribute number; 0 is the view, rules
/// are numbered from -1 down), of the relations from this OID on. These functions lock the relations they speak of, so that they can fail with
/// `lock_not_available`.
pub(super) const DEFINITIONS: &str = "\
SELECT c.oid, 0::pg_catalog.int2, pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.oid >= $1
UNION ALL
SELECT d.adrelid, d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE a.attgenerated <> '' AND d.adrelid >= $1
UNION ALL
SELECT r.ev_class, (-pg_catalog.row_number() OVER (PARTITION BY r.ev_class ORDER BY r.rulename))::pg_catalog.int2,
    pg_catalog.pg_get_ruledef(r.oid)
FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D' AND r.ev_class >= $1
ORDER BY 1, 2";

/// As [`DEFINITIONS`], for one relation.
pub(super) const DEFINITIONS_OF: &str = "\
SELECT c.oid, 0::pg_catalog.int2, pg_catalog.pg_get_viewdef(c.oid)
FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.oid = $1
UNION ALL
SELECT d.adrelid, d.adnum, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE a.attgenerated <> '' AND d.adrelid = $1
UNION ALL
SELECT r.ev_class, (-pg_catalog.row_number() OVER (PARTITION BY r.ev_class ORDER BY r.rulename))::pg_catalog.int2,
    pg_catalog.pg_get_ruledef(r.oid)
FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN' AND r.ev_enabled <> 'D' AND r.ev_class = $1
ORDER BY 1, 2";

/// Whether somebody has replaced a view that came with the server by one over objects which did not.
pub(super) const BUILT_IN_REPLACED: &str = "\
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
    WHERE r.ev_class < 16384 AND d.refobjid >= 16384)";

/// By relation, what its [`countersign_policy::catalog::Stamp`] is the sum of.
const STAMP_PARTS: &str = "\
    SELECT c.oid, pg_catalog.hashtextextended(pg_catalog.concat_ws('/', n.nspname, c.relkind, c.relrowsecurity,
        c.relforcerowsecurity, c.reloptions::pg_catalog.text, c.relname), 0)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    UNION ALL SELECT a.attrelid, pg_catalog.hashtextextended(pg_catalog.concat_ws('/', a.attnum, a.atttypid,
        a.attgenerated, a.attname), 1) FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL SELECT ev_class, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint) FROM pg_catalog.pg_rewrite
    UNION ALL SELECT tgrelid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 1) FROM pg_catalog.pg_trigger
    UNION ALL SELECT adrelid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 2) FROM pg_catalog.pg_attrdef
    UNION ALL SELECT conrelid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 3)
    FROM pg_catalog.pg_constraint
    UNION ALL SELECT polrelid, pg_catalog.hashint8extended(oid::bigint, xmin::text::bigint + 4) FROM pg_catalog.pg_policy
    UNION ALL SELECT inhrelid, pg_catalog.hashint8extended(inhparent::bigint, 5) FROM pg_catalog.pg_inherits
    UNION ALL SELECT i.inhparent, pg_catalog.hashint8extended(i.inhrelid::bigint, 6)
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid AND k.relpersistence <> 't'";

/// Stamps of users' relations.
pub(super) fn stamps() -> String {
    format!(
        "SELECT relation, pg_catalog.sum(stamp)::pg_catalog.text FROM ({STAMP_PARTS}) AS parts (relation, stamp) \
         WHERE relation >= 16384 GROUP BY relation"
    )
}

/// What a statement rests on: `s` stamps of the relations $1; `n` relations of the names $2, and `f` functions of the names
/// $3 with their `xmin`, in the schemas $4.
pub(super) fn look() -> String {
    format!(
        "SELECT 's', ''::pg_catalog.name, ''::pg_catalog.name, relation, pg_catalog.sum(stamp)::pg_catalog.text \
         FROM ({STAMP_PARTS}) AS parts (relation, stamp) WHERE relation = ANY ($1) GROUP BY relation \
         UNION ALL SELECT 'n', n.nspname, c.relname, c.oid, '' \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname = ANY ($2) AND n.nspname = ANY ($4) \
         UNION ALL SELECT 'f', n.nspname, p.proname, p.oid, p.xmin::pg_catalog.text \
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE p.proname = ANY ($3) AND n.nspname = ANY ($4)"
    )
}
