//! What the open transaction has defined.

use super::check;

const LEARNED: &str = r#"v 1 | 2 | D shop ["pg_catalog","public"] | C SELECT 1 | 3 | 3"#;

#[test]
fn what_the_open_transaction_created_is_known_in_it() {
    check(&format!(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > Q CREATE TABLE fresh (id int)
         ^ Q CREATE TABLE fresh (id int)
         = allow
         v C CREATE TABLE | Z T
         < C CREATE TABLE | Z T
         > Q INSERT INTO fresh VALUES (1)
         ^ OWN | S
         {LEARNED} | Z T
         ^ Q INSERT INTO fresh VALUES (1)
         = allow
         v C INSERT 0 1 | Z T
         < C INSERT 0 1 | Z T
         > Q INSERT INTO other VALUES (1)
         = Refresh
         ! refreshed
         = hold Open"
    ));
}

#[test]
fn what_the_open_transaction_renamed_is_not_understood_in_it() {
    check(&format!(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > Q ALTER TABLE free RENAME TO gone
         ^ Q ALTER TABLE free RENAME TO gone
         = allow
         v C ALTER TABLE | Z T
         < C ALTER TABLE | Z T
         > Q ALTER TABLE customers RENAME TO free
         ^ OWN | S
         {LEARNED} | Z T
         ^ Q ALTER TABLE customers RENAME TO free
         = allow
         v C ALTER TABLE | Z T
         < C ALTER TABLE | Z T
         > Q DELETE FROM free
         ^ OWN | S
         {LEARNED} | Z T
         = hold Open"
    ));
}

/// In an open transaction, what was defined shows only to the session itself: the catalog cannot be loaded with it.
#[test]
fn what_the_open_transaction_defined_is_not_understood_in_it() {
    for (definition, tag, used) in [
        ("CREATE VIEW sandbox.free AS SELECT * FROM public.customers", "CREATE VIEW", "DELETE FROM free"),
        ("CREATE TRIGGER t AFTER DELETE ON free EXECUTE FUNCTION opens()", "CREATE TRIGGER", "DELETE FROM free"),
        ("ALTER TABLE free ENABLE TRIGGER ALL", "ALTER TABLE", "DELETE FROM free"),
        ("ALTER SCHEMA sandbox RENAME TO old", "ALTER SCHEMA", "DELETE FROM public.free"),
        (
            "ALTER TABLE customers ADD FOREIGN KEY (id) REFERENCES free ON DELETE CASCADE",
            "ALTER TABLE",
            "DELETE FROM free",
        ),
        ("CREATE POLICY p ON free USING (true)", "CREATE POLICY", "SELECT id FROM free"),
        ("ALTER TABLE free ENABLE ROW LEVEL SECURITY", "ALTER TABLE", "DELETE FROM free"),
        ("CREATE CAST (text AS int) WITH FUNCTION opens(text) AS IMPLICIT", "CREATE CAST", "SELECT id FROM free"),
        ("CREATE OPERATOR === (FUNCTION = opens, RIGHTARG = int)", "CREATE OPERATOR", "SELECT === 1"),
        ("ALTER DOMAIN d ADD CHECK (opens() = value)", "ALTER DOMAIN", "INSERT INTO free VALUES (1)"),
        (
            "CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION opens()",
            "CREATE EVENT TRIGGER",
            "ALTER TABLE free ADD COLUMN x int",
        ),
    ] {
        defined(definition, tag, used, "= hold Open");
    }
    for (definition, tag, used) in [
        ("CREATE TRIGGER t AFTER DELETE ON free EXECUTE FUNCTION opens()", "CREATE TRIGGER", "SELECT id FROM free"),
        ("ALTER TABLE free DISABLE TRIGGER ALL", "ALTER TABLE", "DELETE FROM free"),
        ("ALTER TABLE free ADD FOREIGN KEY (id) REFERENCES customers", "ALTER TABLE", "DELETE FROM free"),
        ("ALTER SCHEMA sandbox RENAME TO old", "ALTER SCHEMA", "COMMIT"),
        ("CREATE POLICY p ON free USING (true)", "CREATE POLICY", "CREATE POLICY q ON free USING (true)"),
        ("CREATE CAST (text AS int) WITH FUNCTION opens(text)", "CREATE CAST", "COPY free FROM STDIN"),
        ("CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION opens()", "CREATE EVENT TRIGGER", "SELECT id FROM free"),
    ] {
        defined(definition, tag, used, &format!("^ Q {used}\n= allow"));
    }
}

#[track_caller]
fn defined(definition: &str, tag: &str, used: &str, outcome: &str) {
    // A definition that names a user's function is judged by what that is now.
    let look =
        if definition.contains("opens()") && !definition.starts_with("CREATE EVENT") { "= Look\n! same\n" } else { "" };
    check(&format!(
        "> Q BEGIN
         ^ Q BEGIN
         = allow
         v C BEGIN | Z T
         < C BEGIN | Z T
         > Q {definition}
         {look}
         ^ Q {definition}
         = allow
         v C {tag} | Z T
         < C {tag} | Z T
         > Q {used}
         ^ OWN | S
         {LEARNED} | Z T
         {outcome}"
    ));
}
