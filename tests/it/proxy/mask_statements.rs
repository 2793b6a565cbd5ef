//! Rows that come without a description, in pieces, backwards or from statements that write: masked like any.

use crate::support::proxy::{Launch, Proxy};
use crate::support::server::Database;
use crate::support::wire::{Frame, Pipeline, WireClient, tags};

const CANARY: &str = "canary";

/// `clear` is what `t` looks like to whom it is masked.
const DEFINITIONS: &str = "
    CREATE TABLE t (id integer PRIMARY KEY, m text, n integer, note text);
    INSERT INTO t SELECT i, 'canary' || i, 4711 + i, 'note' || i FROM generate_series(1, 5) i;
    CREATE TABLE u (id integer PRIMARY KEY, m text, n integer);
    INSERT INTO u SELECT i, 'canary' || i, i FROM generate_series(1, 3) i;
    CREATE TABLE clear AS SELECT id, '***'::text AS m, 0 AS n, note FROM t;
    GRANT ALL ON t, u, clear TO PUBLIC";

const MASK: &str = "
[[masks]]
name = \"secrets\"
columns = [\"public.t.m\", \"public.t.n\", \"public.u.m\"]
mask = \"redact\"
";

async fn proxy() -> Proxy {
    let database = Database::create().await;
    database.direct().await.batch_execute(DEFINITIONS).await.expect("definitions");
    Proxy::in_front_of(database, Launch { fragment: MASK, ..Launch::default() }, |text| text).await
}

/// The cells of every row, in text.
fn rows(frames: &[Frame]) -> Vec<Vec<Option<String>>> {
    let cell = |cell: Option<&[u8]>| cell.map(|bytes| bytes.escape_ascii().to_string());
    let row = |frame: &Frame| {
        let cells = countersign_protocol::row::Cells::read(&frame.body).expect("cells");
        cells.map(|value| cell(value.expect("a cell"))).collect()
    };
    frames.iter().filter(|frame| frame.tag == b'D').map(row).collect()
}

#[track_caller]
fn check_clean(frames: &[Frame], what: &str) {
    let shown = |frame: &&Frame| String::from_utf8_lossy(&frame.body).contains(CANARY);
    let failed = frames.iter().find(|frame| frame.tag == b'E');
    assert!(failed.is_none() && frames.iter().find(shown).is_none(), "{what}: {frames:?}");
}

/// Asks the same of the masked table through the proxy and of its clear image, and wants the same rows and tags.
async fn check_same(wire: &mut WireClient, statement: &str) {
    let masked = wire.query(statement).await;
    check_clean(&masked, statement);
    let instead = statement.replace("FROM t", "FROM clear").replace(" c ", " d ").replace(" c;", " d;");
    let wanted = wire.query(&instead).await;
    let of_row = |frames: &[Frame]| frames.iter().filter(|frame| matches!(frame.tag, b'D' | b'C')).cloned().collect();
    let (masked, wanted): (Vec<Frame>, Vec<Frame>) = (of_row(&masked), of_row(&wanted));
    let bodies = |frames: &[Frame]| frames.iter().map(|frame| frame.body.clone()).collect::<Vec<_>>();
    assert_eq!(bodies(&masked), bodies(&wanted), "{statement}");
}

#[tokio::test]
async fn cursors_are_masked_in_every_direction() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    for kind in ["SCROLL CURSOR", "BINARY SCROLL CURSOR", "SCROLL CURSOR WITH HOLD"] {
        check_same(&mut wire, "BEGIN").await;
        check_same(&mut wire, &format!("DECLARE c {kind} FOR SELECT m, id, n, note FROM t ORDER BY id;")).await;
        if kind.ends_with("HOLD") {
            check_same(&mut wire, "COMMIT").await;
        }
        for motion in [
            "NEXT",
            "PRIOR",
            "FIRST",
            "LAST",
            "ABSOLUTE 2",
            "ABSOLUTE -1",
            "RELATIVE -2",
            "RELATIVE 0",
            "RELATIVE 1",
            "2",
            "0",
            "ALL",
            "BACKWARD",
            "BACKWARD 2",
            "BACKWARD ALL",
            "FORWARD",
            "FORWARD 2",
            "FORWARD ALL",
            "-1",
            "BACKWARD 0",
        ] {
            check_same(&mut wire, &format!("FETCH {motion} FROM c;")).await;
            check_same(&mut wire, &format!("MOVE {motion} IN c;")).await;
        }
        check_same(&mut wire, "MOVE ABSOLUTE 0 IN c; FETCH 2 FROM c; FETCH ALL FROM c;").await;
        check_same(&mut wire, "CLOSE c;").await;
        check_same(&mut wire, "COMMIT").await;
    }
}

/// FETCH by the extended protocol: without Describe, in either format, whatever that of the cursor.
#[tokio::test]
async fn cursors_are_masked_by_the_extended_protocol() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    for kind in ["CURSOR", "BINARY CURSOR"] {
        wire.query(&format!("BEGIN; DECLARE c {kind} FOR SELECT m, n FROM t ORDER BY id")).await;
        for format in [0, 1] {
            let fetch = Pipeline::default().prepare("", "FETCH 2 FROM c").bind("", "", format).run("", 0).sync();
            wire.send(&fetch.0).await;
            let frames = wire.until_ready().await;
            check_clean(&frames, kind);
            let number = if format == 1 { "\\x00\\x00\\x00\\x00" } else { "0" };
            let row = vec![Some("***".to_owned()), Some(number.to_owned())];
            assert_eq!(rows(&frames), [row.clone(), row], "{kind} in format {format}");
        }
        wire.query("ROLLBACK").await;
    }
}

#[tokio::test]
async fn portals_are_masked_in_every_piece() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    for format in [0, 1] {
        let start = Pipeline::default().prepare("all", "SELECT m, n FROM t ORDER BY id").bind("p", "all", format);
        wire.query("BEGIN").await;
        wire.send(&start.run("p", 2).run("p", 1).sync().0).await;
        let mut frames = wire.until_ready().await;
        assert_eq!(tags(&frames), "12DDsDsZ");
        wire.send(&Pipeline::default().run("p", 0).sync().0).await;
        let rest = wire.until_ready().await;
        assert_eq!(tags(&rest), "DDCZ");
        frames.extend(rest);
        check_clean(&frames, "a portal");
        let number = if format == 1 { "\\x00\\x00\\x00\\x00" } else { "0" };
        assert_eq!(rows(&frames), vec![vec![Some("***".to_owned()), Some(number.to_owned())]; 5]);
        wire.query("ROLLBACK; DEALLOCATE \"all\"").await;
    }
}

#[tokio::test]
async fn prepared_statements_are_masked_however_often_they_run() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    wire.query("PREPARE mine AS SELECT m FROM t WHERE id = 2").await;
    let parse = Pipeline::default().prepare("one", "SELECT m FROM t WHERE id = 1").prepare("two", "EXECUTE mine");
    wire.send(&parse.sync().0).await;
    wire.until_ready().await;
    for format in [0, 1, 0] {
        let both = Pipeline::default().bind("", "one", format).run("", 0).bind("", "two", format).run("", 0);
        wire.send(&both.sync().0).await;
        let frames = wire.until_ready().await;
        check_clean(&frames, "a prepared statement");
        assert_eq!(rows(&frames), [[Some("***".to_owned())], [Some("***".to_owned())]]);
    }
}

/// What writes and returns: the old and the new values of every table in it.
#[tokio::test]
async fn what_writing_returns_is_masked() {
    let proxy = proxy().await;
    let mut wire = proxy.wire("alice").await;
    for (statement, expected) in [
        ("DELETE FROM t USING u WHERE u.id = t.id AND t.id = 1 RETURNING t.m, u.m, t.id", "*** *** 1"),
        ("DELETE FROM t USING u WHERE u.id = t.id AND t.id = 1 RETURNING t, t.m || u.m", "(1,***,0,note1) ***"),
        (
            "UPDATE t SET note = 'new' FROM u WHERE u.id = t.id AND t.id = 2 RETURNING u.m, note, upper(t.m)",
            "*** new ***",
        ),
        (
            "INSERT INTO t VALUES (1, 'mine', 5) ON CONFLICT (id) DO UPDATE SET note = 'seen' RETURNING m, n, note",
            "*** 0 seen",
        ),
        ("INSERT INTO t VALUES (1, 'mine', 5) ON CONFLICT (id) DO UPDATE SET m = excluded.m RETURNING m, id", "*** 1"),
        ("INSERT INTO t VALUES (9, 'mine', 5) RETURNING m, id", "*** 9"),
        ("WITH d AS (DELETE FROM t WHERE id = 3 RETURNING *) SELECT m, id FROM d", "*** 3"),
        ("WITH d AS (UPDATE t SET note = 'x' WHERE id = 3 RETURNING t) SELECT (d.t).m FROM d", "***"),
    ] {
        wire.query("BEGIN").await;
        let frames = wire.query(statement).await;
        check_clean(&frames, statement);
        let cells = rows(&frames).concat().into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert_eq!(cells, expected, "{statement}");
        wire.query("ROLLBACK").await;
    }
}

/// A condition, or a value that goes elsewhere, in the parts of a statement that are easily overlooked.
#[tokio::test]
async fn what_decides_or_stores_by_a_masked_column_is_held() {
    let proxy = proxy().await;
    let direct = proxy.database.direct().await;
    let version: i32 =
        direct.query_one("SELECT current_setting('server_version_num')::int", &[]).await.expect("version").get(0);
    let held = [
        "INSERT INTO t VALUES (1, 'mine', 5) ON CONFLICT (id) DO UPDATE SET note = t.m",
        "INSERT INTO t VALUES (1, 'mine', 5) ON CONFLICT (id) DO UPDATE SET note = 'x' WHERE t.m LIKE 'c%'",
        "DELETE FROM u USING t WHERE t.id = u.id AND t.m = 'canary1'",
        "UPDATE u SET n = t.n FROM t WHERE t.id = u.id",
        "DECLARE c CURSOR FOR SELECT id FROM t WHERE m = 'canary1'",
        "DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY m",
        "PREPARE s AS SELECT id FROM t WHERE m = $1; EXECUTE s ('canary1')",
    ];
    let merges = [
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED AND t.m = 'canary1' THEN DELETE",
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED AND u.m = 'canary1' THEN DO NOTHING",
        "MERGE INTO t USING u ON t.m = u.m WHEN MATCHED THEN UPDATE SET note = 'x'",
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET note = u.m",
        "MERGE INTO t USING (SELECT id FROM u WHERE m > 'c') s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "MERGE INTO clear USING u ON clear.id = u.id WHEN NOT MATCHED THEN INSERT VALUES (u.id, u.m)",
    ];
    for statement in held.iter().chain(merges.iter().filter(|_| version >= 150_000)) {
        let mut client = proxy.client("alice").await;
        let begun = if statement.starts_with("DECLARE") { client.client.batch_execute("BEGIN").await } else { Ok(()) };
        begun.expect("a transaction");
        assert!(client.hold(statement).await.is_waiting(), "{statement}");
    }
    let mut wire = proxy.wire("alice").await;
    let free = [
        "MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET m = 'x', note = 'y' WHEN NOT MATCHED THEN INSERT VALUES (u.id, 'new')",
    ];
    for statement in free.iter().filter(|_| version >= 150_000) {
        let frames = wire.query(statement).await;
        assert_eq!(tags(&frames), "CZ", "{statement}: {frames:?}");
    }
}
