"""Everyday work with psycopg 3. Prints what happened; nothing in it depends on whether there is a proxy."""

import datetime
import decimal
import os
import threading
import uuid

import psycopg
from psycopg import errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

URL = os.environ["DATABASE_URL"]


def say(label, value):
    print(f"{label}: {value!r}", flush=True)


def types(connection):
    row = (
        7,
        2**60,
        1.5,
        decimal.Decimal("12345678901234567890.12"),
        True,
        "ünïcødé ' \" \\ \n",
        b"\x00\x01\xff",
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=datetime.timezone.utc),
        datetime.timedelta(days=3, seconds=5),
        uuid.UUID("12345678-1234-5678-1234-567812345678"),
        [1, None, 3],
        ["a,b", 'c"d'],
        None,
    )
    select = (
        "SELECT %s::int, %s::bigint, %s::float8, %s::numeric, %s::bool, %s::text, %s::bytea, %s::date,"
        " %s::timestamptz, %s::interval, %s::uuid, %s::int[], %s::text[], %s::text"
    )
    connection.execute("SET TIME ZONE 'UTC'")
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        say(f"types binary={binary}", cursor.execute(select, row).fetchone() == row)
        say("description", [(column.name, column.type_code) for column in cursor.description])
    say("jsonb", connection.execute("SELECT %s::jsonb", [Jsonb({"a": [1, {"b": None}]})]).fetchone())
    say("range", connection.execute("SELECT int4range(1, 5), '(1,2)'::point::text, 'a=>1'::text").fetchone())


def prepared(connection):
    for prepare in (False, True, None):
        values = [connection.execute("SELECT %s::int + 1", [n], prepare=prepare).fetchone()[0] for n in range(8)]
        say(f"prepare={prepare}", values)
    connection.execute("CREATE TABLE shape (id int, word text)")
    connection.execute("INSERT INTO shape VALUES (1, 'one')")
    say("before", connection.execute("SELECT * FROM shape WHERE id = %s", [1], prepare=True).fetchone())
    connection.execute("ALTER TABLE shape ADD COLUMN more int DEFAULT 5")
    connection.commit()
    try:
        say("after", connection.execute("SELECT * FROM shape WHERE id = %s", [1], prepare=True).fetchone())
    except psycopg.Error as error:
        say("after", (error.sqlstate, str(error)))
        connection.rollback()


def copies(connection):
    connection.execute("CREATE TABLE copied (id int, word text)")
    rows = [(n, f"word\t{n}\\ \n") for n in range(500)] + [(None, None)]
    with connection.cursor().copy("COPY copied FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    with connection.cursor().copy("COPY copied (id, word) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int4", "text"])
        for row in rows:
            copy.write_row(row)
    say("copied in", connection.execute("SELECT count(*), sum(id), md5(string_agg(word, ',' ORDER BY id)) FROM copied").fetchone())
    with connection.cursor().copy("COPY (SELECT * FROM copied ORDER BY id, word LIMIT 5) TO STDOUT") as copy:
        say("copied out", list(copy.rows()))
    with connection.cursor().copy("COPY (SELECT id FROM copied ORDER BY id LIMIT 3) TO STDOUT (FORMAT BINARY)") as copy:
        copy.set_types(["int4"])
        say("copied out binary", list(copy.rows()))
    connection.commit()
    try:
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write("not a number\tx\n")
            for _ in range(2000):
                copy.write("1\t" + "x" * 100 + "\n")
    except errors.InvalidTextRepresentation as error:
        say("bad copy", (error.sqlstate, error.diag.message_primary, error.diag.context))
    connection.rollback()
    try:
        with connection.cursor().copy("COPY copied FROM STDIN") as copy:
            copy.write_row((1, "x"))
            raise ValueError("changed my mind")
    except ValueError as error:
        say("given up", str(error))
    connection.rollback()
    say("still", connection.execute("SELECT count(*) FROM copied").fetchone())


def pipelines(connection):
    connection.autocommit = True
    connection.execute("CREATE TABLE piped (id int PRIMARY KEY)")
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("INSERT INTO piped VALUES (%s) RETURNING id", [n]) for n in range(50)]
        pipeline.sync()
        last = connection.execute("SELECT count(*) FROM piped")
        say("pipeline", (sum(cursor.fetchone()[0] for cursor in cursors), last.fetchone()))
    try:
        with connection.pipeline():
            connection.execute("INSERT INTO piped VALUES (100)")
            connection.execute("INSERT INTO piped VALUES (1)")
            connection.execute("INSERT INTO piped VALUES (101)")
    except errors.UniqueViolation as error:
        say("pipeline failed", (error.sqlstate, str(error)))
    say("rolled back", connection.execute("SELECT count(*) FROM piped WHERE id >= 100").fetchone())
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO piped VALUES (%s) RETURNING id", [(n,) for n in range(200, 260)], returning=True)
    results = []
    while True:
        results.append(cursor.fetchone()[0])
        if not cursor.nextset():
            break
    say("executemany", sum(results))
    connection.autocommit = False


def cursors(connection):
    with connection.cursor(name="server side") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT n, repeat('x', n) FROM generate_series(1, 40) n")
        say("server cursor", sum(len(row[1]) for row in cursor))
    with connection.cursor(name="scrolls", scrollable=True, withhold=True) as cursor:
        cursor.execute("SELECT generate_series(1, 20)")
        cursor.scroll(10)
        say("scrolled", cursor.fetchmany(2))
        connection.commit()
        cursor.scroll(-5)
        say("held over commit", cursor.fetchone())
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SELECT %s, %s", [1, "it's"])
        say("client cursor", cursor.fetchone())
        cursor.execute("SELECT 1; SELECT 2 AS two; SELECT 3 WHERE false")
        say("several", [cursor.fetchall()] + [cursor.fetchall() for _ in iter(cursor.nextset, None)])
    say("streamed", sum(row[0] for row in connection.cursor().stream("SELECT generate_series(1, 100)")))
    say("dict", connection.cursor(row_factory=dict_row).execute("SELECT 1 AS a, 2 AS b").fetchone())


def notifications(connection):
    connection.autocommit = True
    connection.execute("LISTEN news")
    connection.execute("NOTIFY news, 'hello'")
    connection.execute("SELECT pg_notify('news', 'again')")
    say("notified", [(n.channel, n.payload) for n in connection.notifies(timeout=20, stop_after=2)])
    connection.execute("UNLISTEN *")
    notices = []
    connection.add_notice_handler(lambda notice: notices.append((notice.severity, notice.message_primary)))
    connection.execute("CREATE TABLE IF NOT EXISTS piped (id int)")
    say("notices", notices)
    connection.autocommit = False


def failures(connection):
    for statement in (
        "SELECT 1/0",
        "SELECT * FROM nowhere",
        "SELEC 1",
        "SELECT 'x'::int",
        "INSERT INTO piped VALUES (1)",
        "SELECT no_such_function(1)",
        "SELECT unknown_column FROM piped",
    ):
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            say(statement, (type(error).__name__, error.sqlstate))
        try:
            connection.execute("SELECT 1")
        except errors.InFailedSqlTransaction as error:
            say("in failed transaction", str(error))
        connection.rollback()


def transactions(connection):
    with connection.transaction():
        connection.execute("INSERT INTO piped VALUES (1000)")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO piped VALUES (1001)")
                connection.execute("INSERT INTO piped VALUES (1000)")
        except errors.UniqueViolation:
            say("inner", "rolled back")
        connection.execute("INSERT INTO piped VALUES (1002)")
    say("kept", connection.execute("SELECT array_agg(id ORDER BY id) FROM piped WHERE id >= 1000").fetchone())
    connection.rollback()
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    say("isolation", connection.execute("SHOW transaction_isolation").fetchone())
    connection.rollback()
    connection.isolation_level = None
    connection.execute("SET search_path = pg_catalog")
    connection.execute("SAVEPOINT here")
    connection.rollback()
    say("path", connection.execute("SHOW search_path").fetchone())
    connection.rollback()


def cancelled(connection):
    threading.Timer(0.3, connection.cancel_safe).start()
    try:
        connection.execute("SELECT pg_sleep(20)")
    except errors.QueryCanceled as error:
        say("cancelled", str(error))
    connection.rollback()
    say("alive", connection.execute("SELECT 1").fetchone())


def main():
    with psycopg.connect(URL) as connection:
        for part in (types, prepared, copies, pipelines, cursors, notifications, failures, transactions, cancelled):
            print(f"-- {part.__name__}")
            part(connection)
            connection.commit()


main()
