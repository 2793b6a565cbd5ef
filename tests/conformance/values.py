"""Values as large as PostgreSQL has them: just under 1 GB, as a result, out of a COPY and into one."""

import subprocess

import drivers

LENGTH = 1_000_000_000
PIECE = b"x" * 1_000_000
LIMIT_S = 600


def _psql(stand, environment, statement, feed=None):
    """Runs a statement in psql; how many bytes it printed, and its exit status."""
    command = [stand.server.programs / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if feed:
        try:
            for piece in feed():
                process.stdin.write(piece)
            process.stdin.close()
        except BrokenPipeError:
            pass
    printed = 0
    while piece := process.stdout.read(1 << 20):
        printed += len(piece)
    return printed, process.wait(timeout=LIMIT_S)


def _line():
    for _ in range(LENGTH // len(PIECE)):
        yield PIECE
    yield b"\n"


def values(stand, options):
    def once(label, port, environment):
        stand.server.sql("CREATE UNLOGGED TABLE large (value text)", drivers.DATABASE)
        made = f"SELECT repeat('x', {LENGTH})"
        outcomes = {
            "select": _psql(stand, environment, made),
            "copy_out": _psql(stand, environment, f"COPY ({made}) TO STDOUT"),
            "copy_in": _psql(stand, environment, "COPY large FROM STDIN", _line),
        }
        kept = stand.server.sql("SELECT sum(length(value)) FROM large", drivers.DATABASE)
        outcomes["copy_in"] = int(kept or 0), outcomes["copy_in"][1]
        wanted = {"select": LENGTH + 1, "copy_out": LENGTH + 1, "copy_in": LENGTH}
        return {name: ("pass" if outcome == (wanted[name], 0) else "fail", outcome) for name, outcome in outcomes.items()}

    return drivers.both(stand, options, once)
