//! Statements over the small schema, and the schema.
//!
//! Never depends on time, chance or the order of rows. Invariant: with the same state, a statement answers the same.

use super::generate::{Chance, Setting};

/// What a client has to send behind a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// CopyData.
    CopyIn,
}

/// No result may show this to whom `people.secret` is masked for.
pub const CANARY: &str = "canary-7731";

/// What the databases hold before each script. `guarded` and `denied` tell the server's log what is done to them, so
/// that it is seen even when it is rolled back.
pub const SCHEMA: &str = r"
CREATE SCHEMA sandbox;
CREATE TABLE free (id int PRIMARY KEY, note text);
CREATE TABLE guarded (id int PRIMARY KEY, note text);
CREATE TABLE denied (id int PRIMARY KEY, note text);
CREATE TABLE people (id int PRIMARY KEY, name text, secret text);
CREATE TABLE sandbox.free (id int PRIMARY KEY, note text);
CREATE TABLE sandbox.guarded (id int PRIMARY KEY, note text);
CREATE VIEW faces AS SELECT name, secret FROM people;
CREATE FUNCTION boom() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'boom'; END$$;
CREATE FUNCTION warn() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'careful'; RETURN 1; END$$;
CREATE FUNCTION strip() RETURNS int LANGUAGE plpgsql AS $$BEGIN DELETE FROM public.guarded; RETURN 1; END$$;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE LOG 'evidence: % on %.', lower(TG_OP), TG_TABLE_NAME; RETURN NULL; END$$;
CREATE FUNCTION reset() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DROP TABLE IF EXISTS public.made, sandbox.made;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.free'::regclass AND attname = 'remark') THEN
        ALTER TABLE public.free RENAME COLUMN remark TO note;
    END IF;
    TRUNCATE public.free, public.guarded, public.denied, public.people, sandbox.free, sandbox.guarded;
    INSERT INTO public.free SELECT n, 'free ' || n FROM generate_series(1, 5) n;
    INSERT INTO public.guarded SELECT n, 'guarded ' || n FROM generate_series(1, 5) n;
    INSERT INTO public.denied SELECT n, 'denied ' || n FROM generate_series(1, 5) n;
    INSERT INTO public.people SELECT n, 'name ' || n, 'canary-7731-' || n FROM generate_series(1, 3) n;
    INSERT INTO sandbox.free VALUES (1, 'sand');
    INSERT INTO sandbox.guarded VALUES (1, 'castle');
END$$;
";

/// Run after [`SCHEMA`] where what happens to the guarded tables has to be seen.
pub const EVIDENCE: &str = r"
CREATE TRIGGER told BEFORE INSERT OR UPDATE OR DELETE ON guarded EXECUTE FUNCTION tell();
CREATE TRIGGER told BEFORE INSERT OR UPDATE OR DELETE ON denied EXECUTE FUNCTION tell();
";

/// All that can be said of the state of a database.
pub const CONTENTS: &str = "SELECT 'free', f::text FROM public.free f UNION ALL SELECT 'guarded', g::text FROM guarded g \
    UNION ALL SELECT 'denied', d::text FROM denied d UNION ALL SELECT 'people', p::text FROM people p \
    UNION ALL SELECT 'sandbox.free', f::text FROM sandbox.free f \
    UNION ALL SELECT 'sandbox.guarded', g::text FROM sandbox.guarded g \
    UNION ALL SELECT 'relation', oid::regclass::text FROM pg_class WHERE relname = 'made' ORDER BY 1, 2";

const READS: &[&str] = &[
    "SELECT 1",
    "SELECT id, note FROM free ORDER BY id",
    "SELECT id FROM free WHERE id > $1::int ORDER BY id",
    "SELECT $1::text, $2::text",
    "SELECT generate_series(1, 7) AS n",
    "SELECT 1/0",
    "SELECT nosuch",
    "SELECT * FROM nosuch",
    "SELEC 1",
    "",
    "-- nothing",
    "VALUES (1), (2)",
    "SELECT boom()",
    "SELECT warn()",
    "SELECT current_user, current_schemas(false)",
    "SELECT name FROM pg_prepared_statements ORDER BY name",
    "SELECT name FROM pg_cursors ORDER BY name",
    "SHOW search_path",
    "EXPLAIN (COSTS OFF) SELECT 1",
    "TABLE made",
    "SELECT id / (id - 2) FROM free ORDER BY id",
];

const WRITES: &[&str] = &[
    "INSERT INTO free VALUES (10, 'ten')",
    "INSERT INTO free VALUES ($1::int, $2::text) ON CONFLICT (id) DO UPDATE SET note = excluded.note RETURNING id",
    "UPDATE free SET note = 'changed' WHERE id = 2",
    "DELETE FROM free WHERE id = $1::int",
    "DELETE FROM free RETURNING id, note",
    "INSERT INTO free VALUES (1, 'there already')",
    "WITH gone AS (DELETE FROM free WHERE id = 3 RETURNING id) SELECT * FROM gone",
    "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) DELETE FROM free WHERE id = 4",
    "COPY free TO STDOUT",
    "COPY (SELECT id FROM free ORDER BY id) TO STDOUT",
    "LOCK TABLE free",
];

const TRANSACTIONS: &[&str] = &[
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "RELEASE s",
    "END",
];

const NAMES: &[&str] = &[
    "PREPARE a AS SELECT id FROM free WHERE id < 3 ORDER BY id",
    "PREPARE b AS DELETE FROM guarded WHERE id = 2",
    "PREPARE b(int) AS UPDATE free SET note = 'by b' WHERE id = $1",
    "EXECUTE a",
    "EXECUTE b",
    "EXECUTE b(3)",
    "DEALLOCATE a",
    "DEALLOCATE b",
    "DEALLOCATE ALL",
    "DECLARE p CURSOR FOR SELECT id, note FROM free ORDER BY id",
    "DECLARE p CURSOR FOR SELECT id, note FROM guarded ORDER BY id",
    "DECLARE q SCROLL CURSOR WITH HOLD FOR SELECT id FROM free ORDER BY id",
    "FETCH 2 FROM p",
    "FETCH ALL FROM p",
    "FETCH 1 FROM q",
    "MOVE 1 FROM q",
    "CLOSE p",
    "CLOSE ALL",
    "DISCARD ALL",
];

const SESSION: &[&str] = &[
    "SET search_path = sandbox",
    "SET search_path = sandbox, public",
    "SET search_path = public",
    "SET LOCAL search_path = sandbox",
    "RESET search_path",
    "SELECT set_config('search_path', 'sandbox, public', false)",
    "SET ROLE other",
    "RESET ROLE",
    "SET bytea_output = 'escape'",
    "SET datestyle = 'German'",
    "SET nosuch.thing = 'x'",
    "CREATE TABLE made (id int)",
    "INSERT INTO made VALUES (1) RETURNING id",
    "DROP TABLE made",
    "CREATE TEMP TABLE free (id int, note text)",
    "DROP TABLE pg_temp.free",
    "ALTER TABLE public.free RENAME COLUMN note TO remark",
    "DO $$BEGIN DELETE FROM free WHERE id = 5; END$$",
    "VACUUM free",
    "LISTEN told",
    "NOTIFY told, 'you'",
    "TRUNCATE free",
];

const GUARDED: &[&str] = &[
    "DELETE FROM guarded WHERE id = 1",
    "DELETE FROM guarded WHERE id = $1::int RETURNING id, note",
    "UPDATE guarded SET note = 'changed' WHERE id = 3",
    "INSERT INTO guarded VALUES (20, 'twenty')",
    "SELECT note FROM guarded ORDER BY id",
    "WITH gone AS (DELETE FROM guarded RETURNING id) SELECT count(*) FROM gone",
    "SELECT strip()",
    "DELETE FROM denied",
    "UPDATE denied SET note = $1::text WHERE id = 1",
    "INSERT INTO denied VALUES (20, 'twenty')",
    "SELECT id FROM denied ORDER BY id",
    "SELECT name, secret FROM people ORDER BY id",
    "SELECT p FROM people p ORDER BY id",
    "SELECT upper(secret) FROM people ORDER BY id",
    "SELECT secret FROM faces ORDER BY name",
    "SELECT secret::int FROM people",
    "COPY people TO STDOUT",
    "DECLARE q CURSOR FOR SELECT secret FROM people ORDER BY id",
    "PREPARE a AS SELECT secret FROM people ORDER BY id",
    "UPDATE people SET name = 'same' WHERE id = 1 RETURNING secret",
    "INSERT INTO people VALUES (1, 'x', 'canary-7731-x')",
];

const COPIES: &[&str] =
    &["COPY free FROM STDIN", "COPY free FROM STDIN", "COPY guarded FROM STDIN", "COPY nosuch FROM STDIN"];

/// One of them.
pub fn pick(chance: &mut Chance, setting: Setting) -> (String, Kind) {
    if chance.once_in(14) {
        return (chance.pick(COPIES).to_owned(), Kind::CopyIn);
    }
    let guarded_of_ten = match setting {
        Setting::Open => 1,
        Setting::Guarded => 4,
    };
    let pool = match chance.below(10) {
        number if number < guarded_of_ten => GUARDED,
        _ => chance.pick(&[READS, READS, WRITES, WRITES, TRANSACTIONS, NAMES, SESSION]),
    };
    (chance.pick(pool).to_owned(), Kind::Plain)
}

/// How many parameters a text takes.
pub fn parameters(text: &str) -> usize {
    // A body of code has dollars, too, but no digits behind them.
    (1..=2).filter(|number| text.contains(&format!("${number}"))).count()
}
