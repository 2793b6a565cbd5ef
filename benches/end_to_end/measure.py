"""One run of one workload through one server: what the client saw, and what it cost."""

import os
import re
import subprocess
import time
from pathlib import Path

from servers import ROLE, client_environment

# Up to so many clients, logins cost nothing beside the transactions of some seconds.
FEW_CLIENTS = 8
# How long pgbench runs at most, in seconds, when it is ended as soon as enough was seen.
LONGEST = 120
PROGRESS = re.compile(r"progress: [\d.]+ s, ([\d.]+) tps, lat ([\d.]+) ms")

TICKS = os.sysconf("SC_CLK_TCK")

# Name, what it is for people, arguments of pgbench.
WORKLOADS = {
    "S simple": ("pgbench -S, simple, 8 clients", ["-S", "-M", "simple", "-c", "8"]),
    "S extended": ("pgbench -S, extended, 8 clients", ["-S", "-M", "extended", "-c", "8"]),
    "S prepared": ("pgbench -S, prepared, 8 clients", ["-S", "-M", "prepared", "-c", "8"]),
    "S simple 1": ("pgbench -S, simple, 1 client", ["-S", "-M", "simple", "-c", "1"]),
    "S simple 64": ("pgbench -S, simple, 64 clients", ["-S", "-M", "simple", "-c", "64"]),
    "S prepared 64": ("pgbench -S, prepared, 64 clients", ["-S", "-M", "prepared", "-c", "64"]),
    "S simple 256": ("pgbench -S, simple, 256 clients", ["-S", "-M", "simple", "-c", "256"]),
    "S prepared 256": ("pgbench -S, prepared, 256 clients", ["-S", "-M", "prepared", "-c", "256"]),
    "N simple": ("pgbench -N (tpcb-like), simple, 8 clients", ["-N", "-M", "simple", "-c", "8"]),
    "connect": ("pgbench -S -C, simple, 8 clients: a connection for each transaction", ["-S", "-C", "-M", "simple", "-c", "8"]),
    "rows": ("SELECT of 1,000,000 rows × 6 columns, 145 MB", None),
}
SELECT_ROWS = "SELECT id, name, email, phone, card, note FROM people"


def cpu_seconds(pid):
    """User and system time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def backend_seconds(postmaster):
    """User and system time of all backends of the role, those that have ended included."""
    fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(") ")[2].split()
    total = (int(fields[13]) + int(fields[14])) / TICKS
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        try:
            title = Path(f"/proc/{child}/cmdline").read_bytes()
            if f"postgres: {ROLE} ".encode() in title:
                total += cpu_seconds(child)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


def reset_peak(pid):
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        pass


def peak_kb(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1))


def pgbench(arguments, server, postgres, directory):
    """One run of pgbench, and what it cost: dictionary of transactions, elapsed and CPU seconds, and latency and speed."""
    proxy = None if server is postgres else server.pid
    before = (cpu_seconds(proxy) if proxy else 0.0, backend_seconds(postgres.pid))
    begin = time.monotonic()
    answer = subprocess.run(["pgbench", "-n", "-j", "1", *arguments], env=client_environment(server.port),
                            capture_output=True, text=True, cwd=directory, check=False)
    elapsed = time.monotonic() - begin
    if answer.returncode != 0:
        raise RuntimeError(f"pgbench through {server.name} failed:\n{answer.stderr}")
    # Backends end a moment after their clients; what they used counts.
    time.sleep(0.2)
    after = (cpu_seconds(proxy) if proxy else 0.0, backend_seconds(postgres.pid))
    return {
        "transactions": int(re.search(r"actually processed: (\d+)", answer.stdout).group(1)), "elapsed": elapsed,
        "proxy": after[0] - before[0], "backend": after[1] - before[1],
        "latency_us": 1e3 * float(re.search(r"latency average = ([\d.]+) ms", answer.stdout).group(1)),
        "per_second": float(re.search(r"tps = ([\d.]+)", answer.stdout).group(1)),
    }


def pgbench_settled(arguments, server, postgres, directory, seconds):
    """The same of so many whole seconds in which all clients are logged in, which is most of a run with many clients."""
    def cpu():
        return time.monotonic(), cpu_seconds(proxy) if proxy else 0.0, backend_seconds(postgres.pid)

    proxy = None if server is postgres else server.pid
    command = ["pgbench", "-n", "-j", "1", *arguments, "-P", "1", "-T", str(LONGEST)]
    readings, told = [], []
    with subprocess.Popen(command, env=client_environment(server.port), cwd=directory, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as client:
        for line in client.stderr:
            told.append(line)
            found = PROGRESS.match(line)
            if not found:
                continue
            readings.append((*cpu(), float(found.group(1)), float(found.group(2))))
            if len(readings) > seconds:
                break
        client.terminate()
    if len(readings) <= seconds:
        raise RuntimeError(f"pgbench through {server.name} failed:\n{''.join(told)}")
    first, last = readings[0], readings[-1]
    elapsed = last[0] - first[0]
    # What a line tells is of the second before it.
    per_second, latency = (sum(one[at] for one in readings[1:]) / seconds for at in (3, 4))
    return {
        "transactions": round(per_second * elapsed), "elapsed": elapsed, "per_second": per_second, "latency_us": 1e3 * latency,
        "proxy": last[1] - first[1], "backend": last[2] - first[2],
    }


def arguments_of(workload, directory):
    """Arguments of pgbench, without how long."""
    arguments = WORKLOADS[workload][1]
    if arguments is None:
        script = Path(directory) / "rows.sql"
        script.write_text(SELECT_ROWS + ";\n")
        return ["-M", "simple", "-c", "1", "-f", str(script)]
    return arguments


def run(workload, server, postgres, directory, seconds):
    """One measurement as a dictionary of numbers."""
    arguments = arguments_of(workload, directory)
    clients = int(arguments[arguments.index("-c") + 1])
    if server is not postgres:
        reset_peak(server.pid)
    if clients > FEW_CLIENTS:
        one = pgbench_settled(arguments, server, postgres, directory, seconds)
    else:
        one = pgbench([*arguments, *(["-t", "1"] if workload == "rows" else ["-T", str(seconds)])], server, postgres, directory)
    result = {
        "workload": workload, "server": server.name, "transactions": one["transactions"],
        "seconds": round(one["elapsed"], 3), "load": os.getloadavg()[0],
        "latency_us": one["latency_us"], "per_second": one["per_second"],
        "backend_us": 1e6 * one["backend"] / one["transactions"],
    }
    if server is not postgres:
        result |= {"proxy_us": 1e6 * one["proxy"] / one["transactions"], "peak_kb": peak_kb(server.pid)}
    return result
