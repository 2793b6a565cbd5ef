"""pgbench against PostgreSQL directly, through a bare relay, through PgBouncer and through Countersign, in turns.

Needs a release build (`scripts/bench end-to-end` makes it), PostgreSQL's programs, PgBouncer for its column, and strace for
the system calls.
"""

import sys

sys.dont_write_bytecode = True

import argparse
import contextlib
import datetime
import json
import os
import subprocess
import tempfile
from pathlib import Path

import calls
import measure
import report
import servers

ROOT = Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench end-to-end", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (default 3)")
    parser.add_argument("--workload", action="append", choices=list(measure.WORKLOADS), help="only these")
    parser.add_argument("--build", type=Path, default=ROOT / "target" / "release", help="where the programs are")
    parser.add_argument("--compare", type=Path, metavar="PROGRAM", help="another build of countersign to measure too")
    parser.add_argument("--out", type=Path, help="where results go (default benches/runs/DATE)")
    return parser.parse_args()


def start_all(stack, home, options):
    """Everything that is measured, PostgreSQL first."""
    def started(server):
        stack.callback(server.stop)
        return server

    build = options.build.resolve()
    postgres = started(servers.start_postgres(home))
    servers.fill(postgres)
    every = [postgres, started(servers.start_bare_relay(home, build, postgres.port))]
    try:
        every.append(started(servers.start_pgbouncer(home, postgres.port)))
    except servers.Missing as missing:
        print(missing, file=sys.stderr)
    policies = {
        "Countersign, all allowed": "",
        "Countersign, 20 rules": servers.rules_and_masks(),
        "Countersign, 3 of 6 columns masked": servers.masked_columns(),
    }
    for name, policy in policies.items():
        every.append(started(servers.start_countersign(home, build, postgres.port, name, policy)))
    if options.compare:
        other = home.path / "compared"
        other.mkdir()
        (other / "countersign").symlink_to(options.compare.resolve())
        name = "Countersign, all allowed, compared"
        every.append(started(servers.start_countersign(home, other, postgres.port, name, "")))
    return every


def measured_with(workload, server):
    """Masks cost something only where masked columns are read."""
    return workload == "rows" or "masked" not in server.name


def counted(every, workloads, directory, seconds):
    """System calls of every proxy; nothing without strace."""
    if not calls.strace():
        print("strace is missing, system calls are left out: apt-get install strace", file=sys.stderr)
        return []
    counts = []
    for workload in (workload for workload in workloads if workload in calls.WORKLOADS):
        for server in every[1:]:
            if measured_with(workload, server):
                counts.append(calls.run(workload, server, every[0], directory, seconds))
                total = sum(counts[-1]["calls"].values())
                print(f"calls    {workload:<14} {server.name:<36} {total:>10.2f}", file=sys.stderr, flush=True)
    return counts


def main():
    options = arguments()
    workloads = options.workload or list(measure.WORKLOADS)
    with contextlib.ExitStack() as stack:
        home = servers.Home(stack.enter_context(tempfile.TemporaryDirectory(prefix="countersign-bench-")))
        every = start_all(stack, home, options)
        results = []
        for number in range(options.rounds):
            for workload in workloads:
                turn = [server for server in every if measured_with(workload, server)]
                # Each round begins with another server.
                turn = turn[number % len(turn):] + turn[:number % len(turn)]
                for server in turn:
                    one = measure.run(workload, server, every[0], home.path, options.seconds)
                    results.append({"round": number, **one})
                    print(f"round {number + 1}  {workload:<14} {server.name:<36} {one['per_second']:>10.1f}/s"
                          f"  proxy {one.get('proxy_us', 0):>9.1f} µs  backend {one['backend_us']:>9.1f} µs",
                          file=sys.stderr, flush=True)
        counts = counted(every, workloads, home.path, options.seconds)
        names = [server.name for server in every]
        version = subprocess.run([servers.directory_of_programs() / "postgres", "--version"], capture_output=True,
                                 text=True, check=True).stdout.split()[2]
        pgbouncer = next((server.version for server in every if server.name == "PgBouncer"), "not measured")
    conditions = {
        "cores": os.cpu_count(), "PostgreSQL": version, "PgBouncer (session mode)": pgbouncer,
        "TLS": "off", "authentication": "SCRAM-SHA-256", "rounds": options.rounds,
        "seconds for each measurement": options.seconds,
        "load of the machine while measuring (1 min)": report.spread([one["load"] for one in results], 1),
    }
    text = report.summary(results, counts, names, conditions)
    out = options.out or ROOT / "benches" / "runs" / datetime.date.today().isoformat()
    out.mkdir(parents=True, exist_ok=True)
    (out / "end_to_end.md").write_text(text, encoding="utf-8")
    raw = json.dumps({"conditions": conditions, "results": results, "calls": counts}, indent=1, ensure_ascii=False)
    (out / "end_to_end.json").write_text(raw + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    try:
        main()
    except servers.Missing as missing:
        sys.exit(str(missing))
