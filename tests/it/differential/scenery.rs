//! A small database in which a write sets off much, and statements over it.
//!
//! Never large: every table has a few rows, so that what a statement can set off is set off. Invariant: every statement
//! here is one that PostgreSQL runs.

/// Tables with rows, foreign keys, partitions, inheritance, generated columns, views, rules, triggers, functions of all
/// kinds, types, an operator, a cast and an aggregate.
pub const SETTING: &str = "\
CREATE SCHEMA other;
CREATE TYPE kind AS ENUM ('a', 'b');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN small AS int CHECK (VALUE < 1000000);
CREATE TABLE people (id serial PRIMARY KEY, name text, email text, age int, born date, k kind, p pair,
    loud text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE orders (id int PRIMARY KEY, person int REFERENCES people ON DELETE CASCADE ON UPDATE CASCADE, total numeric,
    state text DEFAULT 'new');
CREATE TABLE items (order_id int REFERENCES orders ON DELETE SET NULL, n int, what text);
CREATE TABLE log (id serial, what text, at timestamptz DEFAULT now());
CREATE TABLE other.people (id int, secret text);
CREATE TABLE parts (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (1000);
CREATE TABLE animals (id int, name text);
CREATE TABLE cats (lives int) INHERITS (animals);
CREATE TABLE plain (a int, b text, c text);
INSERT INTO people (name, email, age, born, k, p) VALUES ('ann', 'ann@example.com', 30, '1990-01-01', 'a', (1, 'x')),
    ('bob', 'bob@example.com', 40, '1980-01-01', 'b', (2, 'y')), ('cid', NULL, NULL, NULL, NULL, NULL);
INSERT INTO orders VALUES (1, 1, 10), (2, 1, 20), (3, 2, 30);
INSERT INTO items VALUES (1, 1, 'cork'), (2, 2, 'board'), (3, 1, 'pin');
INSERT INTO other.people VALUES (1, 's1'), (2, 's2');
INSERT INTO parts VALUES (1, 'one'), (11, 'eleven');
INSERT INTO animals VALUES (1, 'fox'); INSERT INTO cats VALUES (2, 'tom', 9);
INSERT INTO plain VALUES (1, 'b1', 'c1'), (2, 'b2', 'c2');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (TG_OP); RETURN NULL; END $$;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (TG_OP); RETURN NEW; END $$;
CREATE TRIGGER noted_items AFTER INSERT OR UPDATE OF what ON items FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER noted_loud AFTER UPDATE OF loud ON people FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER noted_part BEFORE INSERT ON parts_2 FOR EACH ROW EXECUTE FUNCTION noted();
CREATE FUNCTION touch() RETURNS int LANGUAGE sql VOLATILE AS $$ INSERT INTO log (what) VALUES ('touch') RETURNING id $$;
CREATE FUNCTION touch(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (n::text); RETURN n; END $$;
CREATE FUNCTION shout(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper(t) || '!' $$;
CREATE FUNCTION adults() RETURNS SETOF people LANGUAGE sql STABLE AS $$ SELECT * FROM people WHERE age > 17 $$;
CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN touch(3); END $$;
CREATE FUNCTION clean(t text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (t); RETURN true; END $$;
CREATE PROCEDURE tidy_up(n int) LANGUAGE sql AS $$ DELETE FROM log WHERE id < n $$;
CREATE FUNCTION join_them(a text, b text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES (a); RETURN a || b; END $$;
CREATE OPERATOR <+> (LEFTARG = text, RIGHTARG = text, FUNCTION = join_them);
CREATE FUNCTION to_kind(n int) RETURNS kind LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (what) VALUES ('cast'); RETURN 'a'; END $$;
CREATE CAST (int AS kind) WITH FUNCTION to_kind(int);
CREATE AGGREGATE joined (text) (SFUNC = join_them, STYPE = text, INITCOND = '');
CREATE VIEW adults_view AS SELECT id, name AS label, email FROM people WHERE age > 17;
CREATE VIEW spending AS SELECT p.name, sum(o.total) AS total FROM people p JOIN orders o ON o.person = p.id GROUP BY p.name;
CREATE VIEW touching AS SELECT a, touch(1) AS t FROM plain;
CREATE VIEW board AS SELECT id, what FROM log;
CREATE RULE board_put AS ON INSERT TO board DO INSTEAD INSERT INTO plain VALUES (new.id, new.what) RETURNING a, b;
CREATE RULE board_take AS ON DELETE TO board DO INSTEAD (UPDATE plain SET b = 'gone' WHERE a = old.id; NOTIFY board);
CREATE RULE plain_also AS ON DELETE TO plain WHERE old.a > 1 DO ALSO INSERT INTO other.people VALUES (old.a, old.b);
CREATE VIEW steered AS SELECT a, b FROM plain;
CREATE FUNCTION steer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM items; RETURN NEW; END $$;
CREATE TRIGGER steering INSTEAD OF UPDATE ON steered FOR EACH ROW EXECUTE FUNCTION steer();
CREATE MATERIALIZED VIEW totals AS SELECT person, sum(total) AS total FROM orders GROUP BY person;
ALTER TABLE plain ADD CHECK (clean(c));
CREATE INDEX ON plain (lower(b));
CREATE FUNCTION weigh(t text) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT touch(4) $$;
CREATE TABLE weighed (id int, what text); INSERT INTO weighed VALUES (1, 'x'); CREATE INDEX ON weighed (weigh(what));
CREATE TYPE kin AS (a int, b text); CREATE TABLE kins OF kin; CREATE TABLE near_kins () INHERITS (kins);";

/// What is mutated.
pub const STATEMENTS: &[&str] = &[
    "SELECT * FROM people",
    "SELECT id, name AS n, upper(email) FROM people p WHERE p.age > 18 ORDER BY born DESC LIMIT 2",
    "SELECT p.*, o.total FROM people p LEFT JOIN orders o ON o.person = p.id",
    "SELECT (p).name, p.p FROM people p",
    "SELECT count(*), max(total) FROM orders GROUP BY person HAVING sum(total) > 5",
    "SELECT name, (SELECT max(total) FROM orders o WHERE o.person = p.id) FROM people p",
    "SELECT * FROM adults_view NATURAL JOIN spending",
    "SELECT * FROM people JOIN other.people USING (id)",
    "SELECT a.name, b.name FROM people a, people b WHERE a.id < b.id",
    "SELECT id FROM parts UNION SELECT id FROM animals EXCEPT SELECT a FROM plain",
    "SELECT * FROM ONLY animals",
    "SELECT * FROM touching",
    "SELECT touch()",
    "SELECT touch(id) FROM orders",
    "SELECT sly()",
    "SELECT * FROM adults() AS a (i, n)",
    "SELECT name <+> email FROM people",
    "SELECT age::kind FROM people WHERE age IS NOT NULL",
    "SELECT joined(name ORDER BY id) FROM people",
    "SELECT row_to_json(p) FROM people p",
    "SELECT CASE WHEN age > 30 THEN name ELSE email END FROM people",
    "SELECT x.v, x.ordinality FROM unnest(ARRAY['a','b']) WITH ORDINALITY AS x (v)",
    "SELECT * FROM people FOR UPDATE OF people",
    "SELECT generate_series(1, id) FROM people",
    "SELECT sum(total) OVER (PARTITION BY person ORDER BY id) FROM orders",
    "SELECT DISTINCT ON (person) * FROM orders ORDER BY person, total",
    "SELECT ctid, tableoid::regclass, xmin FROM animals",
    "SELECT name INTO made FROM people",
    "TABLE people",
    "VALUES (1, 'x'), (2, 'y')",
    "WITH RECURSIVE t (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT sum(n) FROM t",
    "WITH moved AS (DELETE FROM items WHERE n = 1 RETURNING *) INSERT INTO log (what) SELECT what FROM moved RETURNING id",
    "WITH people AS (SELECT 1 AS id) SELECT * FROM people",
    "INSERT INTO people (name, age) VALUES ('dan', 5) RETURNING id, loud",
    "INSERT INTO orders VALUES (9, 1, 5) ON CONFLICT (id) DO UPDATE SET total = excluded.total WHERE orders.id > 0",
    "INSERT INTO adults_view (id, label) VALUES (1, 'eve') ON CONFLICT (id) DO UPDATE SET label = excluded.label",
    "INSERT INTO parts SELECT id + 20, name FROM animals",
    "INSERT INTO board VALUES (7, 'x') RETURNING *",
    "INSERT INTO plain DEFAULT VALUES",
    "UPDATE people SET name = 'zed' WHERE id = 1 RETURNING *",
    "UPDATE people SET id = id + 100 WHERE name = 'ann'",
    "UPDATE people p SET age = o.total FROM orders o WHERE o.person = p.id",
    "UPDATE people SET (name, age) = (SELECT 'x', 7) WHERE id = 2",
    "UPDATE adults_view SET label = 'old'",
    "UPDATE steered SET b = 'x' WHERE a = 1",
    "UPDATE parts SET id = id + 10",
    "UPDATE ONLY animals SET name = 'wolf'",
    "UPDATE items SET what = 'x', n = DEFAULT",
    "DELETE FROM people WHERE id = 1",
    "DELETE FROM board",
    "DELETE FROM plain USING orders WHERE a = id RETURNING plain.*",
    "DELETE FROM adults_view WHERE label ~ 'o'",
    "MERGE INTO plain t USING orders s ON t.a = s.id WHEN MATCHED AND s.total > 15 THEN UPDATE SET b = s.state \
     WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'm', 'm')",
    "MERGE INTO parts t USING animals s ON t.id = s.id WHEN MATCHED THEN UPDATE SET id = t.id + 30 WHEN NOT MATCHED THEN DO NOTHING",
    "TRUNCATE people CASCADE",
    "COPY people (name, email) TO STDOUT",
    "COPY plain FROM STDIN",
    "COPY (SELECT * FROM orders) TO STDOUT WITH CSV",
    "CREATE TABLE fresh (a int, b text DEFAULT shout('x'))",
    "CREATE INDEX fresh_index ON people (lower(name))",
    "ALTER TABLE people ADD COLUMN extra text",
    "ALTER TABLE plain ALTER COLUMN a TYPE bigint",
    "DROP TABLE items",
    "DROP VIEW IF EXISTS spending, nowhere",
    "DROP TABLE people CASCADE",
    "DROP TYPE kind, pair CASCADE",
    "DROP FUNCTION touch(int), clean CASCADE",
    "DROP SCHEMA other CASCADE",
    "ALTER TABLE people DROP COLUMN age CASCADE",
    "ALTER TYPE kin ADD ATTRIBUTE c int CASCADE",
    "REINDEX TABLE weighed",
    "INSERT INTO weighed VALUES (2, 'y')",
    "SELECT v.* FROM people p, LATERAL (VALUES (p.*)) AS v",
    "LOCK TABLE adults_view IN SHARE MODE",
    "GRANT SELECT ON people TO public",
    "COMMENT ON COLUMN people.name IS 'x'",
    "LOCK TABLE orders IN SHARE MODE",
    "REFRESH MATERIALIZED VIEW totals",
    "CALL tidy_up(5)",
    "DO $$ BEGIN DELETE FROM log; END $$",
    "SET LOCAL search_path = other, public",
    "SET ROLE pg_monitor",
    "SELECT set_config('search_path', 'other', true), * FROM plain",
    "PREPARE ready (int) AS UPDATE plain SET b = 'p' WHERE a = $1",
    "EXECUTE ready (1)",
    "DECLARE cur CURSOR FOR SELECT * FROM people",
    "NOTIFY somebody, 'x'",
    "SELECT lo_create(0), pg_advisory_xact_lock(3)",
    "SELECT query_to_xml('SELECT * FROM other.people', true, true, '')",
    "SELECT nextval('people_id_seq'), currval('people_id_seq')",
    "ANALYZE people",
    "SELECT oid, relname FROM pg_class WHERE relkind = 'r' LIMIT 3",
    "SHOW search_path",
];
