"""Runs the workloads through a build that counts what it executes: `scripts/profile` makes the profile of releases of it."""

import sys

sys.dont_write_bytecode = True

import contextlib
import subprocess
import tempfile
from pathlib import Path

import measure
import servers

SECONDS = 4
# Over TLS, encryption is most of it: a few show what there is.
OVER_TLS = ["S simple", "S prepared", "connect", "rows"]


def certificate(directory):
    """Configuration of a certificate that nobody else has signed."""
    key, cert = directory / "server.key", directory / "server.crt"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    key, "-out", cert, "-subj", "/CN=localhost", "-days", "2"], check=True, capture_output=True)
    return f'\n[tls]\ncert = "{cert}"\nkey = "{key}"\n'


def train(build):
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-train-")))
        home = servers.Home(directory)
        postgres = servers.start_postgres(home)
        stack.callback(postgres.stop)
        servers.fill(postgres)
        runs = [
            ("allowed", "", "disable", measure.WORKLOADS),
            ("rules", servers.rules_and_masks(), "disable", measure.WORKLOADS),
            ("masked", servers.masked_columns(), "disable", measure.WORKLOADS),
            ("tls", servers.masked_columns() + certificate(directory), "require", OVER_TLS),
        ]
        for name, policy, sslmode, workloads in runs:
            # It writes what it has counted when it ends.
            server = servers.start_countersign(home, build, postgres.port, name, policy)
            servers.SSLMODE = sslmode
            try:
                for workload in workloads:
                    ran = measure.run(workload, server, postgres, directory, SECONDS)
                    print(f"{name}, {workload}: {ran['transactions']} transactions", flush=True)
            finally:
                servers.SSLMODE = "disable"
                server.stop()


train(Path(sys.argv[1]).resolve())
