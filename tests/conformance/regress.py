"""PostgreSQL's own regression suite, with `psql` as the client; what is compared is the output of every test."""

import os
import re
import shutil

import sources
from stand import PASSWORD, SUPERUSER, Failure, as_account, give_away, run

DATABASE = "regression"


def _once(stand, label, port, source, tests):
    """One run of pg_regress; the output of each test by name, and which of them pg_regress calls ok."""
    where = stand.home / f"regress-{label}"
    where.mkdir()
    # The server writes into results/ and some tests print the path: it is the same in both runs.
    place = stand.home / "regress"
    if place.is_symlink():
        place.unlink()
    place.symlink_to(where)
    for name in ("data", "sql", "expected"):
        shutil.copytree(source / name, where / name)
    for name in ("parallel_schedule", "resultmap"):
        shutil.copy(source / name, where)
    for library in source.glob("*.so"):
        shutil.copy(library, where)
    for directory in (where, *[path for path in where.rglob("*") if path.is_dir()]):
        give_away(directory)
    pg_regress = shutil.copy(source / "pg_regress", where)
    chosen = ["--schedule", place / "parallel_schedule"] if not tests else ["test_setup", *tests]
    command = [pg_regress, "--use-existing", f"--dbname={DATABASE}", "--host=127.0.0.1", f"--port={port}",
               f"--user={SUPERUSER}", f"--bindir={stand.server.programs}", f"--dlpath={place}",
               f"--inputdir={place}", f"--outputdir={place}", "--max-concurrent-tests=20", *chosen]
    environment = {**os.environ, "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable"}
    log = stand.home / f"regress-{label}.log"
    log.touch()
    run(as_account(command), log, cwd="/", env=environment)
    marks = dict(re.findall(r"^(?:test |     )(\S+)\s+\.\.\. (\w+)", log.read_text(errors="replace"), re.M))
    if not marks:
        raise Failure("pg_regress did not run:\n" + log.read_text(errors="replace"))
    outputs = {path.stem: path.read_text(errors="replace") for path in (where / "results").glob("*.out")}
    _drop_leftovers(stand)
    return {name: ("pass" if mark == "ok" else "fail", outputs.get(name, "")) for name, mark in marks.items()}


def _create(stand):
    stand.server.sql(f"DROP DATABASE IF EXISTS {DATABASE}")
    stand.server.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0 LOCALE 'C'")
    for setting in ("lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'",
                    "bytea_output TO 'hex'", "timezone_abbreviations TO 'Default'"):
        stand.server.sql(f"ALTER DATABASE {DATABASE} SET {setting}")


def _drop_leftovers(stand):
    """Roles and tablespaces that a run leaves, which belong to the cluster."""
    for name in stand.server.sql("SELECT gid FROM pg_prepared_xacts").splitlines():
        stand.server.sql(f"ROLLBACK PREPARED '{name}'", DATABASE)
    stand.server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    for name in stand.server.sql("SELECT spcname FROM pg_tablespace WHERE spcname LIKE 'regress%'").split():
        stand.server.sql(f'DROP TABLESPACE "{name}"')
    for name in stand.server.sql(f"SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|{SUPERUSER}$)'").splitlines():
        stand.server.sql(f'DROP OWNED BY "{name}" CASCADE; DROP ROLE "{name}"')


def regress(stand, options):
    source = sources.postgresql() / "src" / "test" / "regress"
    results = []
    for label in ("direct", "proxy"):
        _create(stand)
        port = stand.server.port if label == "direct" else stand.proxy([DATABASE, "postgres"], options.enforce).port
        results.append(_once(stand, label, port, source, options.tests))
    return results
