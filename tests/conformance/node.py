"""node-postgres' own test suites: `pg` (each file is a program), `pg-pool` and `pg-cursor` (with mocha).

npm's packages come without tests; Debian's source package has the whole repository.
"""

import json
import pathlib
import subprocess

import drivers
import sources
from sources import step, unpack, whole
from stand import PASSWORD, SUPERUSER, Failure, run

SUITES = [("sid", sources.DEBIAN), ("trixie", sources.DEBIAN)]
DEPENDENCIES = ["pg-protocol@1.10.3", "pg-types@2.2.0", "pgpass@1.0.5", "pg-connection-string@2.9.1", "async@2.6.4",
                "bluebird@3.7.2", "co@4.6.0", "pg-copy-streams@0.3.0", "expect.js@0.3.1", "lodash@4.17.21", "mocha@10.8.2"]
FILE_LIMIT_S = 60


def _source():
    def make(where):
        _, tarball = sources.debian_original("node-postgres", SUITES)
        unpack(tarball, where)
        # Without it npm takes the directory for what it is published from, and builds everything.
        (where / "package.json").unlink()
        step(["npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--no-save", *DEPENDENCIES],
             where, "npm install")
        for name in ("pg", "pg-pool", "pg-cursor"):
            link = where / "node_modules" / name
            if link.is_symlink() or link.exists():
                continue
            link.symlink_to(pathlib.Path("..") / "packages" / name)

    return whole("node-postgres", make)


def _programs(source, environment, files, url):
    """Runs each file as a program; its outcome, and the names of the tests in it that pass."""
    results = {}
    where = source / "packages" / "pg"
    subprocess.run(["node", "script/create-test-tables.js", url], cwd=where, env=environment, check=False, capture_output=True)
    for path in files:
        name = f"pg::{path.relative_to(where / 'test' / 'integration')}"
        try:
            done = subprocess.run(["node", path, url], cwd=where, env=environment, capture_output=True, text=True,
                                  errors="replace", timeout=FILE_LIMIT_S, check=False)
        except subprocess.TimeoutExpired:
            results[name] = ("hangs",)
            continue
        passed = tuple(line.strip() for line in done.stdout.splitlines() if line.endswith("✔"))
        results[name] = ("pass" if done.returncode == 0 else "fail", passed)
    return results


def _mocha(stand, source, package, label, environment):
    report = stand.home / f"{package}-{label}.json"
    where = source / "packages" / package
    command = ["timeout", "600", "node", source / "node_modules" / "mocha" / "bin" / "mocha.js", "--exit", "--reporter", "json",
               "--reporter-option", f"output={report}", "test/*.js"]
    if run(command, stand.home / f"{package}-{label}.log", cwd=where, env=environment) and not report.exists():
        raise Failure(f"mocha did not run, see {stand.home}/{package}-{label}.log")
    told = json.loads(report.read_text())
    outcomes = {"passes": "pass", "failures": "fail", "pending": "skip"}
    return {f"{package}::{test['fullTitle']}": (outcome,) for kind, outcome in outcomes.items() for test in told[kind]}


def node_postgres(stand, options):
    source = _source()
    every = sorted((source / "packages" / "pg" / "test" / "integration").rglob("*-tests.js"))
    files = [path for path in every if not options.tests or any(wanted in str(path) for wanted in options.tests)]

    def once(label, port, environment):
        url = f"postgres://{SUPERUSER}:{PASSWORD}@127.0.0.1:{port}/{drivers.DATABASE}"
        results = _programs(source, environment, files, url)
        if not options.tests:
            for package in ("pg-pool", "pg-cursor"):
                results |= _mocha(stand, source, package, label, environment)
        return results

    return drivers.both(stand, options, once)
