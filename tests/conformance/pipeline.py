"""`libpq_pipeline` of PostgreSQL's source: every test of it, and the trace of what libpq sent and received."""

import os
import re
import subprocess

import sources
from stand import PASSWORD, SUPERUSER

DATABASE = "pipelines"
LIMIT_S = 120
# When replies come is a matter of timing in the others.
TRACED = ("simple_pipeline", "nosync", "multi_pipelines", "prepared", "singlerow", "pipeline_abort", "pipeline_idle",
          "transaction", "disallowed_in_pipeline")


def libpq_pipeline(stand, options):
    program = sources.postgresql() / "src" / "test" / "modules" / "libpq_pipeline" / "libpq_pipeline"
    tests = options.tests or subprocess.run([program, "tests"], capture_output=True, text=True, check=True).stdout.split()
    results = []
    for label in ("direct", "proxy"):
        stand.server.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        stand.server.sql(f"CREATE DATABASE {DATABASE}")
        port = stand.server.port if label == "direct" else stand.proxy([DATABASE], enforce=options.enforce).port
        results.append({test: _once(stand, program, port, test, label) for test in tests})
    return results


def _once(stand, program, port, test, label):
    trace = stand.home / f"trace-{label}-{test}"
    target = f"host=127.0.0.1 port={port} user={SUPERUSER} dbname={DATABASE} sslmode=disable"
    try:
        done = subprocess.run([program, "-t", trace, "-r", "700", test, target], capture_output=True, text=True,
                              timeout=LIMIT_S, check=False, env={**os.environ, "PGPASSWORD": PASSWORD})
    except subprocess.TimeoutExpired:
        return "hangs", ""
    text = trace.read_text(errors="replace") if trace.exists() else ""
    # Line numbers of the server's source are all that may differ between two runs.
    text = re.sub(r'"(SSSS|[A-Z]?L\d+)"', '"L"', text)
    return ("pass" if done.returncode == 0 else "fail"), text if test in TRACED else ""
