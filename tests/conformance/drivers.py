"""The drivers' own test suites: asyncpg, psycopg2, SQLAlchemy (over psycopg 3 and asyncpg), node-postgres.

Each is run by its own runner against one database, first directly, then through the proxy. Invariant: the database and
the roles are made anew before each run.
"""

import os
import shutil
import xml.etree.ElementTree
import zlib

import sources
from sources import step, unpack, whole
from stand import PASSWORD, SUPERUSER, Failure, run

DATABASE = "drivers"
LIMIT_S = 3600


def python(name, requirements):
    """A directory of Python packages of its own."""
    def make(where):
        step(["python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore",
              "--target", where, *requirements], where, f"pip install {' '.join(requirements)}")

    return whole(f"python-{name}-{zlib.crc32(repr(requirements).encode()):08x}", make)


def python_source(package, version):
    """The source distribution of a package; its tests are in it."""
    def make(where):
        wanted = f"{package}=={version}"
        step(["python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
              "--no-binary", ":all:", "--dest", where, wanted], where, f"pip download {wanted}")
        (tarball,) = where.glob("*.tar.gz")
        unpack(tarball, where)

    return whole(f"{package}-{version}", make)


def both(stand, options, once):
    """Runs `once` directly and through the proxy, each time on a new database."""
    results = []
    for label in ("direct", "proxy"):
        stand.server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        stand.server.sql(f"CREATE DATABASE {DATABASE}")
        port = stand.server.port
        if label == "proxy":
            port = stand.proxy([DATABASE, "postgres"], enforce=options.enforce).port
        environment = {**os.environ, "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": SUPERUSER,
                       "PGPASSWORD": PASSWORD, "PGDATABASE": DATABASE, "PGSSLMODE": "disable",
                       "PYTHONDONTWRITEBYTECODE": "1"}
        results.append(once(label, port, environment))
    return results


def pytest(stand, label, packages, where, arguments, environment):
    """Runs pytest in a directory; outcome and first line of the error by test."""
    report = stand.home / f"pytest-{label}.xml"
    command = ["python3", "-m", "pytest", "-q", "--tb=native", "--continue-on-collection-errors",
               "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
    log = stand.home / f"pytest-{label}.log"
    try:
        run(["timeout", LIMIT_S, *command], log, cwd=where, env={**environment, "PYTHONPATH": str(packages)})
        cases = xml.etree.ElementTree.parse(report).iter("testcase")
    except OSError:
        raise Failure(f"pytest did not run:\n{log.read_text(errors='replace')[-3000:]}") from None
    results = {}
    for case in cases:
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = "pass" if not kinds else "skip" if kinds == {"skipped"} else "fail"
        results[f"{case.get('classname')}::{case.get('name')}"] = (outcome,)
    return results


def chosen(options, everything):
    return options.tests or everything


ASYNCPG = "0.31.0"
PYTEST = "pytest==8.4.2"


def asyncpg(stand, options):
    packages = python("asyncpg", [f"asyncpg=={ASYNCPG}", "distro", PYTEST])
    source = python_source("asyncpg", ASYNCPG)
    where = stand.home / "asyncpg"
    where.mkdir()
    # Without the sources beside them, the tests use the installed package.
    shutil.copytree(source / "tests", where / "tests")
    return both(stand, options, lambda label, port, environment: pytest(
        stand, label, packages, where, chosen(options, ["tests", "--deselect=tests/test__sourcecode.py"]), environment))


PSYCOPG2 = "2.9.10"


def psycopg2(stand, options):
    packages = python("psycopg2", [f"psycopg2-binary=={PSYCOPG2}", PYTEST])
    source = python_source("psycopg2", PSYCOPG2)
    where = stand.home / "psycopg2"
    where.mkdir()
    shutil.copytree(source / "tests", where / "tests")

    def once(label, port, environment):
        environment = {**environment, "PSYCOPG2_TESTDB": DATABASE}
        return pytest(stand, label, packages, where, chosen(options, ["tests"]), environment)

    return both(stand, options, once)


SQLALCHEMY = "2.0.44"


def sqlalchemy(driver):
    def suite(stand, options):
        package = "psycopg[binary]==3.2.12" if driver == "psycopg" else f"asyncpg=={ASYNCPG}"
        packages = python(f"sqlalchemy-{driver}", [f"sqlalchemy[asyncio]=={SQLALCHEMY}", package, PYTEST])
        source = python_source("sqlalchemy", SQLALCHEMY)
        where = stand.home / "sqlalchemy"
        where.mkdir()
        for name in ("test", "pyproject.toml", "setup.cfg", "tools", "lib"):
            if (source / name).is_dir():
                shutil.copytree(source / name, where / name)
            elif (source / name).exists():
                shutil.copy(source / name, where / name)

        def once(label, port, environment):
            stand.server.sql("CREATE SCHEMA test_schema", DATABASE)
            stand.server.sql("CREATE SCHEMA test_schema_2", DATABASE)
            stand.server.sql("CREATE EXTENSION hstore; CREATE EXTENSION citext", DATABASE)
            url = f"postgresql+{driver}://{SUPERUSER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}"
            arguments = [f"--dburi={url}", "--dropfirst", *chosen(options, ["test/dialect/test_suite.py"])]
            return pytest(stand, label, packages, where, arguments, environment)

        return both(stand, options, once)

    return suite
