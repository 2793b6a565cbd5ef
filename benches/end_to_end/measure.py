"""One run of one workload through one server: what the client saw, and what it cost."""

import os
import re
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from servers import ROLE, client_environment

# Up to so many clients, logins cost nothing beside the transactions of some seconds.
FEW_CLIENTS = 8
# Seconds of which the end was read so much later after it than the begin tell nothing; it is tried again so often.
LATER = 0.1
TRIES = 8
# How long pgbench runs at most, in seconds, when it is ended as soon as enough was seen.
LONGEST = 120
PROGRESS = re.compile(r"progress: ([\d.]+) s, ([\d.]+) tps, lat ([\d.]+) ms")

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


def stat(pid):
    """The fields of a process from its state on, which is field 3 in proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def cpu_seconds(pid):
    """User and system time of all threads of a process."""
    return sum(map(int, stat(pid)[11:13])) / TICKS


def backend_seconds(postmaster):
    """Time on a CPU of all backends of the role, those that have ended included."""
    total = sum(map(int, stat(postmaster)[13:15])) / TICKS
    # The kernel's list of children leaves some out while others end.
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if int(stat(pid)[1]) != postmaster:
                continue
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            # In ticks, each of hundreds of backends would lose most of what it used in a second.
            nanoseconds = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue
        # One that has ended has no title until it is counted with its parent.
        if not title or f"postgres: {ROLE} ".encode() in title:
            total += nanoseconds / 1e9
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


@contextmanager
def ahead():
    """Whoever measures waits for nobody who is measured: behind hundreds of backends, that takes a second."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except PermissionError:
        pass
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, own)


def pgbench_settled(arguments, server, postgres, directory, seconds):
    """The same of so many seconds in which all clients are logged in, which is most of a run with many clients."""
    for _ in range(TRIES):
        one = settled_once(arguments, server, postgres, directory, seconds)
        if abs(one["later"]) < LATER:
            return one
    raise RuntimeError(f"CPU of {server.name} was not read in time, but {one['later']:.2f} s later: try as root, or with less besides")


def settled_once(arguments, server, postgres, directory, seconds):
    proxy = None if server is postgres else server.pid
    command = ["pgbench", "-n", "-j", "1", *arguments, "-P", "1", "--progress-timestamp", "-T", str(LONGEST)]
    readings, told, late = [], [], []
    with subprocess.Popen(command, env=client_environment(server.port), cwd=directory, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as client, ahead():
        for line in client.stderr:
            told.append(line)
            found = PROGRESS.match(line)
            if not found:
                continue
            at, per_second, latency = map(float, found.groups())
            readings.append((at, per_second, latency, cpu_seconds(proxy) if proxy else 0.0, backend_seconds(postgres.pid)))
            late.append(time.time() - at)
            if len(readings) > seconds:
                break
        client.terminate()
    if len(readings) <= seconds:
        raise RuntimeError(f"pgbench through {server.name} failed:\n{''.join(told)}")
    first, last = readings[0], readings[-1]
    elapsed = last[0] - first[0]
    # What a line tells is of the time since the line before it.
    spans = [(one[0] - before[0], *one[1:3]) for before, one in zip(readings, readings[1:])]
    transactions = sum(span * per_second for span, per_second, _ in spans)
    return {
        "transactions": round(transactions), "elapsed": elapsed, "per_second": transactions / elapsed,
        "later": late[-1] - late[0],
        "latency_us": 1e3 * sum(span * latency for span, _, latency in spans) / elapsed,
        "proxy": last[3] - first[3], "backend": last[4] - first[4],
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
