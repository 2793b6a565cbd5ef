"""Everyday work with asyncpg. Prints what happened; nothing in it depends on whether there is a proxy."""

import asyncio
import datetime
import decimal
import io
import os
import uuid

import asyncpg

URL = os.environ["DATABASE_URL"]


def say(label, value):
    print(f"{label}: {value!r}", flush=True)


async def types(connection):
    row = (
        7,
        2**60,
        1.5,
        decimal.Decimal("12345678901234567890.12"),
        True,
        "ünïcødé ' \" \\ \n",
        b"\x00\x01\xff",
        datetime.date(2024, 2, 29),
        datetime.timedelta(days=3, seconds=5),
        uuid.UUID("12345678-1234-5678-1234-567812345678"),
        [1, None, 3],
        ["a,b", 'c"d'],
        None,
    )
    names = "int bigint float8 numeric bool text bytea date interval uuid int[] text[] text".split()
    select = "SELECT " + ", ".join(f"${index + 1}::{name}" for index, name in enumerate(names))
    say("types", tuple(await connection.fetchrow(select, *row)) == row)
    say("composite", await connection.fetchval("SELECT ROW(1, 'a')"))
    await connection.execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    await connection.execute("CREATE TABLE moods (id int, mood mood, moods mood[])")
    await connection.execute("INSERT INTO moods VALUES ($1, $2, $3)", 1, "happy", ["sad", "happy"])
    say("enum", tuple(await connection.fetchrow("SELECT * FROM moods")))


async def prepared(connection):
    statement = await connection.prepare("SELECT $1::int * 2 AS doubled")
    say("attributes", [(one.name, one.type.name) for one in statement.get_attributes()])
    say("parameters", [one.name for one in statement.get_parameters()])
    say("values", [await statement.fetchval(n) for n in range(5)])
    say("cached", [await connection.fetchval("SELECT $1::text || 'x'", str(n)) for n in range(5)])
    await connection.executemany("INSERT INTO moods (id) VALUES ($1)", [(n,) for n in range(10, 110)])
    say("executemany", await connection.fetchval("SELECT count(*) FROM moods"))
    try:
        await connection.executemany("INSERT INTO moods (id) VALUES ($1 / $2)", [(1, 1), (1, 0), (2, 1)])
    except asyncpg.PostgresError as error:
        say("executemany failed", (error.sqlstate, str(error)))
    say("rolled back", await connection.fetchval("SELECT count(*) FROM moods"))


async def cursors(connection):
    async with connection.transaction():
        total = 0
        async for record in connection.cursor("SELECT generate_series(1, $1)", 200, prefetch=7):
            total += record[0]
        say("cursor", total)
        cursor = await connection.cursor("SELECT generate_series(1, 50)")
        await cursor.forward(10)
        say("forward", await cursor.fetch(3))


async def copies(connection):
    await connection.execute("CREATE TABLE copied (id int, word text)")
    records = [(n, f"word {n}") for n in range(300)]
    say("records in", await connection.copy_records_to_table("copied", records=records))
    text = io.BytesIO(b"".join(b"%d\tline\n" % n for n in range(300)))
    say("text in", await connection.copy_to_table("copied", source=text))
    out = io.BytesIO()
    say("out", await connection.copy_from_query("SELECT * FROM copied WHERE id < $1 ORDER BY id, word", 3, output=out))
    say("text", out.getvalue())
    try:
        await connection.copy_to_table("copied", source=io.BytesIO(b"x\ty\n" * 1000))
    except asyncpg.PostgresError as error:
        say("bad copy", (error.sqlstate, str(error)))
    say("count", await connection.fetchval("SELECT count(*) FROM copied"))


async def transactions(connection):
    async with connection.transaction(isolation="serializable"):
        await connection.execute("INSERT INTO copied VALUES (1000, 'kept')")
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO copied VALUES (1001, 'lost')")
                await connection.execute("SELECT 1/0")
        except asyncpg.DivisionByZeroError as error:
            say("inner", str(error))
    say("kept", await connection.fetch("SELECT word FROM copied WHERE id >= 1000"))
    say("script", await connection.execute("SELECT 1; INSERT INTO copied VALUES (2000, 'a'); SELECT 2"))


async def notifications(connection):
    heard = asyncio.Queue()
    await connection.add_listener("news", lambda _connection, _pid, channel, payload: heard.put_nowait((channel, payload)))
    await connection.execute("NOTIFY news, 'hello'")
    say("notified", await asyncio.wait_for(heard.get(), 20))
    await connection.reset()


async def failures(connection):
    for statement in ("SELECT 1/0", "SELECT * FROM nowhere", "SELEC 1", "SELECT 'x'::int", "SELECT nope(1)"):
        try:
            await connection.fetch(statement)
        except asyncpg.PostgresError as error:
            say(statement, (type(error).__name__, error.sqlstate))
    try:
        await connection.fetchval("SELECT pg_sleep(20)", timeout=0.3)
    except asyncio.TimeoutError:
        say("cancelled", True)
    say("alive", await connection.fetchval("SELECT 1"))


async def main():
    connection = await asyncpg.connect(URL)
    for part in (types, prepared, cursors, copies, transactions, notifications, failures):
        print(f"-- {part.__name__}")
        await part(connection)
    await connection.close()


asyncio.run(main())
