"""The test stand: a throwaway PostgreSQL, and the proxy in front of it with a policy that only observes.

Never touches an existing cluster or a fixed port; everything lies in one temporary directory, which is removed at the
end. PostgreSQL does not run as root, so as root it runs under the account `postgres` or `nobody`.
"""

import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SUPERUSER = "postgres"
PASSWORD = "conformance"
START_LIMIT_S = 60


class Failure(Exception):
    """Something that keeps a suite from running; the text says what to do."""


def pg_config(option):
    try:
        return subprocess.run(["pg_config", option], check=True, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        raise Failure("pg_config is missing: apt-get install postgresql libpq-dev") from None


def account():
    """The account PostgreSQL and pg_regress run under; `None` when we are not root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise Failure('PostgreSQL does not run as root, and there is neither a user "postgres" nor "nobody"')


def as_account(command):
    """The command line that runs a command under that account."""
    name = account()
    return command if name is None else ["runuser", "-u", name, "--", *map(str, command)]


def run(command, log, **options):
    """Runs a command to its end with its output in a file; its exit status."""
    with open(log, "ab") as out:
        return subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT, check=False, **options).returncode


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def give_away(path):
    """Makes a directory the account's own."""
    name = account()
    if name is not None:
        shutil.chown(path, name)


class Postgres:
    """A throwaway server on a free port of the loopback interface."""

    def __init__(self, home):
        self.programs = pathlib.Path(pg_config("--bindir"))
        self.data = home / "cluster"
        self.data.mkdir()
        give_away(self.data)
        self.port = free_port()
        self.log = home / "postgres.log"
        self.log.touch()
        give_away(self.log)
        initdb = [self.programs / "initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "--no-sync",
                  "--encoding=UTF8", "--locale=C"]
        if run(as_account(initdb), home / "initdb.log", cwd="/") != 0:
            raise Failure("initdb failed:\n" + (home / "initdb.log").read_text())
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as conf:
            for line in (f"port = {self.port}", "listen_addresses = '127.0.0.1'",
                         f"unix_socket_directories = '{self.data}'", "fsync = off", "max_connections = 200",
                         "max_prepared_transactions = 10", "wal_level = logical"):
                conf.write(line + "\n")
        self.control("start")

    def control(self, action):
        command = [self.programs / "pg_ctl", action, "-D", self.data, "-w", "-t", START_LIMIT_S, "-s", "-m", "fast"]
        if action == "start":
            command = [word for word in command if word not in ("-m", "fast")] + ["-l", self.log]
        if run(as_account(command), self.data.parent / "pg_ctl.log", cwd="/") != 0 and action == "start":
            raise Failure("PostgreSQL did not start:\n" + self.log.read_text())

    def sql(self, text, database="postgres"):
        """Runs SQL as superuser, directly; its rows, without alignment."""
        command = [self.programs / "psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
                   "-p", str(self.port), "-U", SUPERUSER, "-d", database, "-c", text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failure(done.stderr)
        return done.stdout.strip()


class Proxy:
    """The built proxy in front of these databases of a server. `enforce` judges for real, still with default allow."""

    def __init__(self, home, binary, server, databases, enforce=False):
        self.home = home / f"proxy-{time.monotonic_ns()}"
        self.home.mkdir()
        lines = ['listen = "127.0.0.1:0"', "[web]", 'listen = "127.0.0.1:0"', "[[users]]", f'name = "{SUPERUSER}"',
                 'groups = ["everyone"]', 'password = { env = "PROXY_PASSWORD" }']
        for name in databases:
            target = f"postgres://{SUPERUSER}@127.0.0.1:{server.port}/{name}?sslmode=disable"
            lines += [f"[databases.{json.dumps(name)}]", f"upstream = {json.dumps(target)}", 'groups = ["everyone"]',
                      'default = "allow"', 'unparsed = "deny"' if enforce else 'stage = "observe"']
        (self.home / "countersign.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        ready = self.home / "ready.json"
        environment = {**os.environ, "COUNTERSIGN_READY_FILE": str(ready), "PROXY_PASSWORD": PASSWORD, "NO_COLOR": "1"}
        self.log = self.home / "proxy.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([binary, "serve", "-c", "countersign.toml"], cwd=self.home, env=environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_LIMIT_S
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failure("the proxy did not start:\n" + self.log.read_text())
            time.sleep(0.02)
        self.port = int(json.loads(ready.read_text())["postgres"][0].rsplit(":", 1)[1])

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Stand:
    """One temporary directory with a server, and whatever stands in front of it."""

    def __init__(self, binary, keep=False):
        self.binary, self.keep = binary, keep
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="conformance-"))
        self.home.chmod(0o755)
        self.proxies = []
        self.server = Postgres(self.home)

    def proxy(self, databases, enforce=False):
        proxy = Proxy(self.home, self.binary, self.server, databases, enforce)
        self.proxies.append(proxy)
        return proxy

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for proxy in self.proxies:
            proxy.stop()
        self.server.control("stop")
        if self.keep:
            print(f"kept: {self.home}")
        else:
            shutil.rmtree(self.home, ignore_errors=True)
