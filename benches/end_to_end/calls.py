"""System calls of a proxy for each transaction, counted by strace in a pass of its own: what is traced is too slow to be timed."""

import re
import shutil
import subprocess
from pathlib import Path

from measure import arguments_of, pgbench

# Those whose calls are counted: with more clients more is done at once, which tracing changes.
WORKLOADS = ["S simple 1", "S simple", "S extended", "S prepared"]


def strace():
    """The program, or None."""
    return shutil.which("strace")


def counts(text):
    """Calls by name, from what `strace -c` writes."""
    lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+)(?: +\d+)? +(\w+)$", text, re.MULTILINE)
    return {name: int(calls) for calls, name in lines if name != "total"}


def run(workload, server, postgres, directory, seconds):
    """Calls for each transaction, by name."""
    out = Path(directory) / "strace"
    tracer = subprocess.Popen([strace(), "-f", "-c", "-o", out, "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
    try:
        # It says so once it is attached to all threads; nothing is counted before.
        tracer.stderr.readline()
        arguments = [*arguments_of(workload, directory), "-T", str(seconds)]
        transactions = pgbench(arguments, server, postgres, directory)["transactions"]
    finally:
        tracer.terminate()
        tracer.communicate(timeout=30)
    by_name = counts(out.read_text())
    return {
        "workload": workload, "server": server.name, "transactions": transactions,
        "calls": {name: calls / transactions for name, calls in by_name.items()},
    }
