//! The statements of the shared store. Each changes one request, or many of one kind, as a whole: a statement is its own
//! transaction, and what it did is notified when it commits.
//!
//! Never finds a table by the search path. Invariant: nothing sets `state` without adding a transition, and nothing but
//! [`CREATE`] and [`BEGIN`] makes a node wait or run, which takes a lease that is not over.

/// Columns of `requests r` in the order `rows::request_from` reads them.
macro_rules! columns {
    () => {
        "r.id, r.state, r.version, r.requester, r.database, r.facts, r.created_at, r.expires_at, r.decided_at, r.outcome, \
         (SELECT json_agg(d ORDER BY d.seq)::text FROM countersign.demands d WHERE d.request = r.id), \
         (SELECT json_agg(v ORDER BY v.seq)::text FROM countersign.votes v WHERE v.request = r.id), \
         (SELECT json_agg(t ORDER BY t.seq)::text FROM countersign.transitions t WHERE t.request = r.id), r.justification"
    };
}

/// Rows for `votes` and `transitions` from JSON texts, for requests in `made`.
macro_rules! add_rows {
    ($votes:literal, $transitions:literal) => {
        concat!(
            ", vote AS (INSERT INTO countersign.votes (request, seq, person, groups, approve, reason, at, surface, offer, forced, edited, max_affected) \
             SELECT made.id, x.seq, x.person, x.groups, x.approve, x.reason, x.at, x.surface, x.offer, x.forced, x.edited, x.max_affected FROM made, \
             json_to_recordset(",
            $votes,
            "::text::json) AS x(seq bigint, person text, groups text[], approve boolean, reason text, at bigint, surface text, \
             offer text, forced boolean, edited text, max_affected bigint)), \
             transition AS (INSERT INTO countersign.transitions (request, seq, from_state, to_state, person, surface, at, reason) \
             SELECT made.id, x.seq, x.from_state, x.to_state, x.person, x.surface, x.at, x.reason FROM made, \
             json_to_recordset(",
            $transitions,
            "::text::json) AS x(seq bigint, from_state text, to_state text, person text, surface text, at bigint, reason text))"
        )
    };
}

/// Tells the other proxies of what is in `made`.
macro_rules! tell {
    () => {
        " SELECT pg_catalog.pg_notify('countersign', made.id) FROM made"
    };
}

/// The lease of node `$n`, if it is not over; nobody can end it before the statement has.
macro_rules! fence {
    ($node:literal) => {
        concat!(
            "WITH fence AS (SELECT n.id FROM countersign.nodes n WHERE n.id = ",
            $node,
            " AND NOT n.gone AND n.lease_until > clock_timestamp() FOR KEY SHARE)"
        )
    };
}

/// What a change sets; `$1` id, `$2` version, `$3` state before, `$4` state after, `$5` decided, `$6` expiry, `$7` outcome,
/// `$8` mode.
macro_rules! set {
    () => {
        "UPDATE countersign.requests r SET version = r.version + 1, state = coalesce($4, r.state), \
         decided_at = coalesce(r.decided_at, $5), expires_at = coalesce($6, r.expires_at), \
         outcome = coalesce($7, r.outcome), mode = coalesce($8, r.mode)"
    };
}

/// Which request a change is for.
macro_rules! at_version {
    () => {
        " WHERE r.id = $1 AND r.version = $2 AND r.state = coalesce($3, r.state)"
    };
}

/// One page of a list; what follows is put together from the filter.
pub(super) const LIST: &str = concat!("SELECT ", columns!(), " FROM countersign.requests r WHERE true");

/// One request by id.
pub(super) const GET: &str = concat!("SELECT ", columns!(), " FROM countersign.requests r WHERE r.id = $1");

/// What waits for the vote of `$1` in the groups `$2` at `$3`; `$4` and `$5` are what facts hold of a reason that is required,
/// and of none. A vote counts for the text that it was cast for: the last that somebody changed, or the first.
macro_rules! waiting {
    () => {
        " FROM countersign.requests r WHERE r.state = 'PENDING' AND r.reviewers && $2::text[] AND r.requester <> $1 \
         AND EXISTS (SELECT FROM unnest($2::text[], $6::text[]) AS v (grp, database) WHERE v.grp = ANY (r.reviewers) \
         AND (v.database IS NULL OR v.database = r.database)) \
         AND r.expires_at > $3 AND NOT EXISTS (SELECT FROM countersign.votes v WHERE v.request = r.id AND v.approve AND v.seq >= \
         coalesce((SELECT max(e.seq) FROM countersign.votes e WHERE e.request = r.id AND e.edited IS NOT NULL), 0) \
         AND v.person = $1) AND (r.justification IS NOT NULL OR strpos(r.facts, $4) = 0 OR strpos(r.facts, $5) = 0)"
    };
}

/// How many wait, at most 1000.
pub(super) const COUNT_WAITING: &str = concat!("SELECT count(*) FROM (SELECT 1", waiting!(), " LIMIT 1000) counted");

/// The first `$7` that wait, those with the least time left first.
pub(super) const WAITING: &str = concat!("SELECT ", columns!(), waiting!(), " ORDER BY r.expires_at, r.id LIMIT $7");

/// The card of `$1`.
pub(super) const CARD: &str = "SELECT c.card FROM countersign.cards c WHERE c.request = $1";

/// Puts the card `$2` of `$1` in the place of the one before.
pub(super) const FILL_CARD: &str = "WITH filled AS (INSERT INTO countersign.cards (request, card) VALUES ($1, $2) \
     ON CONFLICT (request) DO UPDATE SET card = excluded.card RETURNING request) \
     SELECT pg_catalog.pg_notify('countersign', filled.request) FROM filled";

/// What was written about `$1`.
pub(super) const COMMENTS: &str =
    "SELECT c.person, c.surface, c.at, c.comment FROM countersign.comments c WHERE c.request = $1 ORDER BY c.seq";

/// Requests in few words, from id `$1` to before `$2`, `$3` at most.
pub(super) const DIGESTS: &str = "SELECT r.id, r.requester, r.database, r.created_at, r.shape, r.rules, t.to_state, t.person, \
     t.at, r.reviewers FROM countersign.requests r \
     LEFT JOIN countersign.transitions t ON t.request = r.id AND t.from_state = 'PENDING' \
     WHERE r.id >= $1 AND r.id < $2 ORDER BY r.id DESC LIMIT $3";

/// Of these those that `$4` made, or that one of groups `$5` is asked for, on the database beside it in `$6` if there is
/// one. The newest of each way to see one are found by their index; the newest of all are among them. LIMIT 1 keeps the
/// planner from reading whole tables for these few.
pub(super) const DIGESTS_SEEN: &str = "SELECT r.id, r.requester, r.database, r.created_at, r.shape, r.rules, t.to_state, t.person, \
     t.at, r.reviewers FROM (SELECT s.id FROM ((SELECT o.id FROM countersign.requests o WHERE o.requester = $4 \
     AND o.id >= $1 AND o.id < $2 ORDER BY o.id DESC LIMIT $3) \
     UNION SELECT w.request FROM unnest($5::text[], $6::text[]) AS v (grp, database) \
     CROSS JOIN LATERAL (SELECT DISTINCT d.request FROM countersign.demands d WHERE d.grp = v.grp \
     AND d.request >= $1 AND d.request < $2 AND (v.database IS NULL OR v.database = \
     (SELECT o.database FROM countersign.requests o WHERE o.id = d.request)) \
     ORDER BY d.request DESC LIMIT $3) AS w) AS s ORDER BY s.id DESC LIMIT $3) AS seen \
     CROSS JOIN LATERAL (SELECT o.* FROM countersign.requests o WHERE o.id = seen.id LIMIT 1) AS r \
     LEFT JOIN LATERAL (SELECT x.* FROM countersign.transitions x WHERE x.request = seen.id \
     AND x.from_state = 'PENDING' LIMIT 1) AS t ON true ORDER BY r.id DESC";

/// States of requests of shape `$1` on database `$2` made before `$3`, by `$4` or anybody.
pub(super) const PAST: &str = "SELECT p.state, count(*) FROM (SELECT r.state FROM countersign.requests r \
     WHERE r.shape = $1 AND r.shape <> '' AND r.database = $2 AND r.id < $3 AND ($4::text IS NULL OR r.requester = $4) \
     ORDER BY r.id DESC LIMIT 1000) p GROUP BY p.state";

/// Those of `$1` that are not PENDING.
pub(super) const DECIDED: &str =
    concat!("SELECT ", columns!(), " FROM countersign.requests r WHERE r.id = ANY ($1) AND r.state <> 'PENDING'");

/// `$1` binding, `$2` requester, `$3` state, `$4` now.
pub(super) const RESUBMITTABLE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM countersign.requests r WHERE r.binding = $1 AND r.requester = $2 AND r.state = $3 \
     AND r.state IN ('PENDING', 'APPROVED') AND r.mode <> 'wait' AND r.expires_at > $4 \
     AND (r.state = 'APPROVED' OR r.mode = 'resubmit') ORDER BY r.id DESC LIMIT 1"
);

/// A new request: `$1` to `$12` its columns, `$13` the node, `$14` and `$15` groups and numbers of its demands, `$16` votes,
/// `$17` transitions, `$18` shape, `$19` rules, `$20` card, `$21` how much its requester may have undecided. Yields whether there
/// was room for it.
pub(super) const CREATE: &str = concat!(
    fence!("$13"),
    ", room AS MATERIALIZED (SELECT fence.id, $21::bigint IS NULL OR countersign.has_room($4, $9::bigint, $21::bigint) AS there \
     FROM fence), \
     made AS (INSERT INTO countersign.requests (id, state, version, requester, database, binding, mode, facts, created_at, \
     expires_at, decided_at, outcome, node, reviewers, shape, rules) \
     SELECT $1, $2, $3::bigint, $4, $5, $6::bytea, $7, $8, $9::bigint, $10::bigint, $11::bigint, $12, \
     CASE WHEN $7 <> 'resubmit' THEN room.id END, $14::text[], $18, $19 FROM room WHERE room.there \
     RETURNING id), \
     card AS (INSERT INTO countersign.cards (request, card) SELECT made.id, $20 FROM made), \
     demand AS (INSERT INTO countersign.demands (request, seq, grp, approvals) \
     SELECT made.id, x.seq, x.grp, x.approvals FROM made, \
     unnest($14::text[], $15::bigint[]) WITH ORDINALITY AS x(grp, approvals, seq))",
    add_rows!("$16", "$17"),
    " SELECT room.there, (SELECT pg_catalog.pg_notify('countersign', made.id) FROM made) FROM room"
);

/// What `given` adds to the grants.
macro_rules! grant_rows {
    ($rows:literal) => {
        concat!(
            "json_to_recordset(",
            $rows,
            "::text::json) AS x(id text, state text, version bigint, grantee text, database text, expires_at bigint, record text, \
             untold json)"
        )
    };
}

/// What the grants of `$rows` that `$made` has add to what no trail tells of.
macro_rules! grant_tellings {
    ($rows:literal, $made:literal) => {
        concat!(
            ", untold AS (INSERT INTO countersign.grant_tellings (grant_id, person, to_state, at) \
             SELECT x.id, u.person, u.to_state, u.at FROM ",
            $made,
            " JOIN ",
            grant_rows!($rows),
            " USING (id), json_to_recordset(x.untold) AS u(person text, to_state text, at bigint))"
        )
    };
}

/// A change: `$1` to `$8` what is set, `$9` votes, `$10` transitions, `$11` grants that come with it, `$12` what it is bound
/// to, `$13` to `$16` who wrote about it, where, when and what, `$17` its reason. Whoever no longer waits for a request has
/// no node.
pub(super) const CHANGE: &str = concat!(
    "WITH made AS (",
    set!(),
    ", node = CASE WHEN $8 = 'resubmit' THEN NULL ELSE r.node END, binding = coalesce($12::bytea, r.binding), \
     justification = coalesce($17, r.justification)",
    at_version!(),
    " RETURNING r.id), remark AS (INSERT INTO countersign.comments (request, seq, person, surface, at, comment) \
     SELECT made.id, $2 + 1, $13, $14, $15::bigint, $16 FROM made WHERE $16::text IS NOT NULL), \
     given AS (INSERT INTO countersign.grants (id, state, version, grantee, database, expires_at, record) \
     SELECT x.id, x.state, x.version, x.grantee, x.database, x.expires_at, x.record FROM made, ",
    grant_rows!("$11"),
    " RETURNING id)",
    grant_tellings!("$11", "given"),
    add_rows!("$9", "$10"),
    tell!(),
    ", (SELECT count(pg_catalog.pg_notify('countersign', 'grants')) FROM given) AS told"
);

/// New grants: `$1`; `$2` of whom, `$3` now, `$4` how much they may have undecided.
pub(super) const GIVE: &str = concat!(
    "WITH room AS MATERIALIZED (SELECT $4::bigint IS NULL OR countersign.has_room($2, $3::bigint, $4::bigint) AS there), \
     given AS (INSERT INTO countersign.grants (id, state, version, grantee, database, expires_at, record) \
     SELECT x.id, x.state, x.version, x.grantee, x.database, x.expires_at, x.record FROM room, ",
    grant_rows!("$1"),
    " WHERE room.there RETURNING id)",
    grant_tellings!("$1", "given"),
    " SELECT pg_catalog.pg_notify('countersign', 'grants') FROM given"
);

/// The grant of id `$1`.
pub(super) const GRANT: &str = "SELECT record FROM countersign.grants WHERE id = $1";

/// Grants: `$1` only open ones, `$2` state, `$3` database, `$4` grantee, `$5` older than, `$6` at most.
pub(super) const GRANTS: &str = "SELECT record FROM countersign.grants WHERE (NOT $1 OR state IN ('REQUESTED', 'ACTIVE')) \
     AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR database = $3) AND ($4::text IS NULL OR grantee = $4) \
     AND ($5::text IS NULL OR id < $5) ORDER BY id DESC LIMIT $6";

/// Puts the grants `$1` in the place of those of their ids that are at the version before and in state `$2`.
pub(super) const REPLACE_GRANT: &str = concat!(
    "WITH changed AS (UPDATE countersign.grants g SET state = x.state, version = x.version, expires_at = x.expires_at, \
     record = x.record FROM ",
    grant_rows!("$1"),
    " WHERE g.id = x.id AND g.version = x.version - 1 AND g.state = $2 RETURNING g.id)",
    grant_tellings!("$1", "changed"),
    " SELECT pg_catalog.pg_notify('countersign', 'grants') FROM changed"
);

/// The change that uses an approval up: as [`CHANGE`], and `$11` the node that runs it.
pub(super) const BEGIN: &str = concat!(
    fence!("$11"),
    ", made AS (",
    set!(),
    ", node = fence.id FROM fence",
    at_version!(),
    " RETURNING r.id)",
    add_rows!("$9", "$10"),
    tell!()
);

/// State and version of `$1`.
pub(super) const STATE: &str = "SELECT r.state, r.version FROM countersign.requests r WHERE r.id = $1";

/// Ends what is due at `$1`, at most `$2`. Other proxies do the same: each request is ended by one.
pub(super) const EXPIRE: &str = "WITH due AS (SELECT r.id, r.state FROM countersign.requests r \
     WHERE r.state IN ('PENDING', 'APPROVED') AND r.expires_at <= $1 ORDER BY r.expires_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
     made AS (UPDATE countersign.requests r SET version = r.version + 1, state = 'EXPIRED', \
     decided_at = coalesce(r.decided_at, CASE WHEN due.state = 'PENDING' THEN $1 END) FROM due WHERE r.id = due.id \
     RETURNING r.id, due.state AS from_state, r.version, \
     CASE due.state WHEN 'PENDING' THEN 'nobody decided in time' ELSE 'approval was not used in time' END AS reason), \
     transition AS (INSERT INTO countersign.transitions (request, seq, from_state, to_state, person, surface, at, reason) \
     SELECT made.id, made.version, made.from_state, 'EXPIRED', 'proxy', 'proxy', $1, made.reason FROM made) \
     SELECT made.id, made.from_state, 'EXPIRED', $1, made.reason, pg_catalog.pg_notify('countersign', made.id) FROM made";

/// When the next request expires.
pub(super) const NEXT_EXPIRY: &str =
    "SELECT min(expires_at) FROM countersign.requests WHERE state IN ('PENDING', 'APPROVED')";

/// Makes a node of installation `$1` with a lease of `$2` ms; its earlier ones are gone if `$3`. Yields id and time.
pub(super) const REGISTER: &str = "WITH old AS (SELECT n.id FROM countersign.nodes n WHERE $3 AND n.installation = $1 FOR UPDATE), \
     marked AS (UPDATE countersign.nodes n SET gone = true FROM old WHERE n.id = old.id) \
     INSERT INTO countersign.nodes (installation, lease_ms, since, lease_until) \
     VALUES ($1, $2::bigint, clock_timestamp(), clock_timestamp() + $2::bigint * interval '1 millisecond') \
     RETURNING id, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Keeps up the lease of node `$1`, even one that is over, as long as nobody counts it as gone. Yields the time.
pub(super) const RENEW: &str = "UPDATE countersign.nodes SET \
     since = CASE WHEN lease_until < clock_timestamp() THEN clock_timestamp() ELSE since END, \
     lease_until = clock_timestamp() + lease_ms * interval '1 millisecond' WHERE id = $1 AND NOT gone \
     RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Gives the lease of node `$1` up.
pub(super) const LEAVE: &str = "UPDATE countersign.nodes SET lease_until = clock_timestamp() WHERE id = $1";

/// Says that node `$1` goes by rules `$2`, and asks for other rules by which others go.
pub(super) const COMPARE_RULES: &str = "WITH me AS (UPDATE countersign.nodes n SET rules = $2 WHERE n.id = $1 AND n.rules <> $2) \
     SELECT DISTINCT n.rules FROM countersign.nodes n WHERE n.id <> $1 AND NOT n.gone AND n.lease_until > clock_timestamp() \
     AND n.rules NOT IN ('', $2) ORDER BY 1";

/// Marks nodes whose lease is over as gone. Node `$1` may say so only while its own lease has been kept up for as long as
/// theirs lasts: when the store itself was away, everybody has time to come back first.
pub(super) const MARK_GONE: &str = "WITH me AS (SELECT n.since, n.lease_ms FROM countersign.nodes n \
     WHERE n.id = $1 AND NOT n.gone AND n.lease_until > clock_timestamp()), \
     dead AS (SELECT n.id FROM countersign.nodes n, me WHERE NOT n.gone AND n.id <> $1 AND n.lease_until < clock_timestamp() \
     AND me.since < clock_timestamp() - greatest(me.lease_ms, n.lease_ms) * interval '1 millisecond' \
     FOR UPDATE OF n SKIP LOCKED) \
     UPDATE countersign.nodes n SET gone = true FROM dead WHERE n.id = dead.id";

/// Ends what nodes that are gone have left open, at most `$1`.
pub(super) const REAP: &str = "WITH lost AS (SELECT r.id, r.state FROM countersign.requests r \
     WHERE r.node IN (SELECT n.id FROM countersign.nodes n WHERE n.gone) AND ((r.state = 'PENDING' AND r.mode <> 'resubmit') \
     OR (r.state = 'APPROVED' AND r.mode = 'wait') OR r.state = 'EXECUTING') LIMIT $1 FOR UPDATE OF r SKIP LOCKED), \
     made AS (UPDATE countersign.requests r SET version = r.version + 1, \
     state = CASE lost.state WHEN 'EXECUTING' THEN 'UNKNOWN' ELSE 'CANCELLED' END, \
     decided_at = coalesce(r.decided_at, CASE WHEN lost.state = 'PENDING' THEN t.at END) \
     FROM lost, (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at) t WHERE r.id = lost.id \
     RETURNING r.id, lost.state AS from_state, r.state AS to_state, r.version, t.at, \
     CASE lost.state WHEN 'EXECUTING' THEN 'proxy was gone while it ran' ELSE 'proxy was gone' END AS reason), \
     transition AS (INSERT INTO countersign.transitions (request, seq, from_state, to_state, person, surface, at, reason) \
     SELECT made.id, made.version, made.from_state, made.to_state, 'proxy', 'proxy', made.at, made.reason FROM made) \
     SELECT made.id, made.from_state, made.to_state, made.at, made.reason, pg_catalog.pg_notify('countersign', made.id) \
     FROM made";

/// Untold rows of a table that `$1` made before `$2`, and those of installations of which no node is left, which become
/// its own. Those that are left are an array, so that whoever waits for another to take a row sees whose it has become.
macro_rules! untold {
    ($table:literal, $person:literal, $to:literal) => {
        concat!(
            $table,
            "_found AS (UPDATE countersign.",
            $table,
            " x SET untold_by = $1 WHERE x.untold_by IS NOT NULL \
             AND x.untold_by <> $1 AND x.untold_by <> ALL (ARRAY(SELECT n.installation FROM countersign.nodes n \
             WHERE NOT n.gone AND n.installation IS NOT NULL)) \
             RETURNING x.request, ",
            $person,
            " AS person, ",
            $to,
            " AS to_state, x.at, x.seq), ",
            $table,
            "_own AS (SELECT x.request, ",
            $person,
            " AS person, ",
            $to,
            " AS to_state, x.at, x.seq \
             FROM countersign.",
            $table,
            " x WHERE x.untold_by = $1 AND x.at < $2), "
        )
    };
}

/// What no trail tells of, `$3` at most: `$1` the installation, `$2` made before. Whether it was another's comes last.
pub(super) const UNTOLD: &str = concat!(
    "WITH ",
    untold!("votes", "x.person", "NULL::text"),
    untold!("transitions", "NULL::text", "x.to_state"),
    "every AS (SELECT v.*, false AS other FROM votes_own v UNION ALL SELECT t.*, false FROM transitions_own t \
     UNION ALL SELECT v.*, true FROM votes_found v UNION ALL SELECT t.*, true FROM transitions_found t) \
     SELECT e.request, e.person, e.to_state, e.at, e.seq, e.other FROM every e ORDER BY e.at LIMIT $3"
);

/// Likewise of grants: what no trail tells of.
pub(super) const UNTOLD_OF_GRANTS: &str = "WITH found AS (UPDATE countersign.grant_tellings x SET untold_by = $1 \
     WHERE x.untold_by <> $1 AND x.untold_by <> ALL (ARRAY(SELECT n.installation FROM countersign.nodes n \
     WHERE NOT n.gone AND n.installation IS NOT NULL)) RETURNING x.grant_id, x.person, x.to_state, x.at), \
     own AS (SELECT x.grant_id, x.person, x.to_state, x.at FROM countersign.grant_tellings x \
     WHERE x.untold_by = $1 AND x.at < $2) \
     SELECT e.grant_id, e.person, e.to_state, e.at, e.other FROM (SELECT o.*, false AS other FROM own o \
     UNION ALL SELECT f.*, true FROM found f) e ORDER BY e.at LIMIT $3";

/// What of grants stands in a trail: `$1` grants, `$2` voters, `$3` states, `$4` when the votes were given.
pub(super) const TOLD_OF_GRANTS: &str = "DELETE FROM countersign.grant_tellings t \
     USING unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS x (grant_id, person, to_state, at) \
     WHERE t.grant_id = x.grant_id AND t.person IS NOT DISTINCT FROM x.person \
     AND t.to_state IS NOT DISTINCT FROM x.to_state AND t.at = coalesce(x.at, t.at)";

/// A checkpoint of a trail: `$1` installation, `$2` number, `$3` hash, `$4` line.
pub(super) const ANCHOR: &str = "INSERT INTO countersign.audit_anchors (installation, seq, hash, line) \
     VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// Votes that stand in a trail: `$1` requests, `$2` voters, `$3` when.
pub(super) const TOLD_VOTES: &str = "UPDATE countersign.votes v SET untold_by = NULL \
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS x (request, person, at) \
     WHERE v.request = x.request AND v.person = x.person AND v.at = x.at AND v.untold_by IS NOT NULL";

/// Transitions that stand in a trail: `$1` requests, `$2` states.
pub(super) const TOLD_TRANSITIONS: &str = "UPDATE countersign.transitions t SET untold_by = NULL \
     FROM unnest($1::text[], $2::text[]) AS x (request, state) \
     WHERE t.request = x.request AND t.to_state = x.state AND t.untold_by IS NOT NULL";

/// Forgets nodes that are gone and have left nothing open.
pub(super) const FORGET: &str = "DELETE FROM countersign.nodes n WHERE n.gone AND NOT EXISTS (SELECT FROM countersign.requests r \
     WHERE r.node = n.id AND ((r.state = 'PENDING' AND r.mode <> 'resubmit') \
     OR (r.state = 'APPROVED' AND r.mode = 'wait') OR r.state = 'EXECUTING'))";
