"""What is measured, started on free ports of this machine in a temporary directory and stopped at the end."""

import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

DATABASE = "bench"
# How clients connect; a proxy without certificate takes nothing else.
SSLMODE = "disable"
ROLE = "bench"
PASSWORD = "a-password-for-measuring"
ROWS = 1_000_000
PATIENCE = 60

# What the proxy under a policy has to compare every statement with. The rules speak of this database and this user, so
# that none is set aside before the statement is looked at, and of tables that the measured statements do not touch.
AUDITED_TABLES = ["customers", "payments", "employees", "salaries", "contracts"]


class Missing(Exception):
    """A program that is not installed."""


def directory_of_programs():
    """Where initdb and postgres are: on PATH, as pg_config says, or the newest in the usual place."""
    candidates = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep)]
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        candidates.append(Path(answer.stdout.strip()))
    versions = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()]
    candidates += sorted(versions, key=lambda path: -int(path.parent.name))
    for candidate in candidates:
        if (candidate / "initdb").is_file() and (candidate / "postgres").is_file():
            return candidate
    raise Missing("PostgreSQL's server programs are missing: apt-get install postgresql")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, process, log):
    begin = time.monotonic()
    while time.monotonic() - begin < PATIENCE:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"{process.args[0]} did not start:\n{Path(log).read_text()}")


def clean_environment(**further):
    """The environment without the caller's own PostgreSQL settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C", "TZ": "UTC", **further}


class Home:
    """The temporary directory, and the account that servers which refuse root run under."""

    def __init__(self, path):
        self.path = Path(path)
        self.account = None
        if os.geteuid() == 0:
            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            self.account = known.get("postgres") or known["nobody"]
            self.path.chmod(0o711)

    def make(self, name):
        directory = self.path / name
        directory.mkdir(mode=0o700)
        self.give(directory)
        return directory

    def give(self, path):
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def as_account(self):
        """Arguments for subprocess that switch to the account."""
        if not self.account:
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}


class Server:
    """A child process that listens on a port."""

    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_postgres(home):
    programs = directory_of_programs()
    directory = home.make("postgres")
    password_file = directory / "password"
    password_file.write_text(PASSWORD)
    home.give(password_file)
    data = directory / "data"
    subprocess.run(
        [programs / "initdb", "--no-sync", "--no-locale", "--encoding=UTF8", "--auth-local=trust",
         "--auth-host=scram-sha-256", f"--username={ROLE}", f"--pwfile={password_file}", "--pgdata", data],
        check=True, stdout=subprocess.DEVNULL, cwd=directory, env=clean_environment(), **home.as_account())
    port, log = free_port(), directory / "log"
    settings = {
        "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": directory, "max_connections": 700,
        "shared_buffers": "512MB", "fsync": "off", "autovacuum": "off", "max_wal_size": "4GB",
    }
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *arguments],
            stdout=output, stderr=output, cwd=directory, env=clean_environment(), **home.as_account())
    wait_for_port(port, process, log)
    return Server("direct", process, port)


def client_environment(port):
    path = f"{directory_of_programs()}{os.pathsep}{os.environ.get('PATH', '')}"
    return clean_environment(PATH=path, PGHOST="127.0.0.1", PGPORT=str(port), PGUSER=ROLE, PGPASSWORD=PASSWORD,
                             PGSSLMODE=SSLMODE, PGDATABASE=DATABASE)


def fill(postgres):
    """pgbench's tables, a table to read as a whole, and tables that rules and masks speak of."""
    environment = client_environment(postgres.port)
    tables = ";".join(f"CREATE TABLE {name} (id int, email text, phone text)" for name in AUDITED_TABLES)
    statements = f"""
        CREATE TABLE people AS SELECT n AS id, 'Customer number ' || n AS name,
            'customer.' || n || '@mail.example.com' AS email, '+49 30 901820 ' || n AS phone,
            '4012 8888 8888 1881' AS card, 'prefers to be called after six' AS note
        FROM generate_series(1, {ROWS}) AS n;
        {tables}; VACUUM ANALYZE people"""
    run = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["createdb", DATABASE], env={**environment, "PGDATABASE": "postgres"}, **run)
    subprocess.run(["pgbench", "-i", "-s", "10", "-q"], env=environment, **run)
    for statement in statements.split(";"):
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement], env=environment, **run)


def start_bare_relay(home, build, upstream_port):
    process = subprocess.Popen(
        [build / "bare_relay", f"127.0.0.1:{upstream_port}"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=home.path)
    address = process.stdout.readline().strip()
    return Server("bare relay", process, int(address.rpartition(":")[2]))


def start_pgbouncer(home, upstream_port):
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    if not program:
        raise Missing("PgBouncer is missing, its column is left out: apt-get install pgbouncer")
    directory, port = home.make("pgbouncer"), free_port()
    users, settings, log = directory / "users.txt", directory / "pgbouncer.ini", directory / "log"
    users.write_text(f'"{ROLE}" "{PASSWORD}"\n')
    settings.write_text(f"""[databases]
{DATABASE} = host=127.0.0.1 port={upstream_port} dbname={DATABASE}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = session
server_reset_query =
default_pool_size = 300
max_client_conn = 600
ignore_startup_parameters = extra_float_digits
""")
    home.give(users)
    home.give(settings)
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen([program, settings], stdout=output, stderr=output, cwd=directory,
                                   **home.as_account())
    wait_for_port(port, process, log)
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    server = Server("PgBouncer", process, port)
    server.version = re.search(r"[\d.]+", version).group()
    return server


def rules_and_masks():
    """20 rules and 3 masks, none of which applies to what is measured."""
    effects = ["drop", "truncate", "delete", "update"]
    parts = []
    for table in AUDITED_TABLES:
        for effect in effects:
            action = 'action = "hold"\nreviewers = ["reviewers"]' if effect in ("delete", "update") \
                else 'action = "deny"'
            parts.append(f"""
[[rules]]
name = "{effect}-{table}"
databases = ["{DATABASE}"]
groups = ["clients"]
effects = ["{effect}"]
relations = ["public.{table}"]
{action}
""")
    for column, mask in (("email", "email"), ("phone", "phone"), ("id", "hash")):
        columns = ", ".join(f'"public.{table}.{column}"' for table in AUDITED_TABLES)
        parts.append(f'\n[[masks]]\nname = "{column}"\ncolumns = [{columns}]\nmask = "{mask}"\n')
    return "".join(parts)


def masked_columns():
    """Masks on three of the six columns of the table that is read as a whole."""
    masks = (("email", "email"), ("phone", "phone"), ("card", "last4"))
    return "".join(
        f'\n[[masks]]\nname = "{column}"\ncolumns = ["public.people.{column}"]\nmask = "{mask}"\n'
        for column, mask in masks)


def start_countersign(home, build, upstream_port, name, policy):
    directory = home.path / name.replace(" ", "-").replace(",", "")
    directory.mkdir(mode=0o700)
    port, web_port, log = free_port(), free_port(), directory / "log"
    token = hashlib.sha256(b"nobody uses it").hexdigest()
    (directory / "countersign.toml").write_text(f"""listen = "127.0.0.1:{port}"
data_dir = "{directory}/data"

[web]
listen = "127.0.0.1:{web_port}"
public_url = "http://127.0.0.1:{web_port}"

[[users]]
name = "{ROLE}"
groups = ["clients"]
password = {{ env = "BENCH_PASSWORD" }}

[[users]]
name = "reviewer"
groups = ["reviewers"]
tokens = [{{ sha256 = "{token}", scopes = ["admin"] }}]

[databases.{DATABASE}]
upstream = "postgres://{ROLE}@127.0.0.1:{upstream_port}/{DATABASE}?sslmode=disable"
password = {{ env = "BENCH_PASSWORD" }}
groups = ["clients"]
default = "allow"
unparsed = "hold"
review = {{ groups = ["reviewers"], timeout = "1h", mode = "wait" }}
{policy}""")
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [build / "countersign", "serve", "-c", "countersign.toml"], stdout=output, stderr=output, cwd=directory,
            env=clean_environment(BENCH_PASSWORD=PASSWORD))
    wait_for_port(port, process, log)
    return Server(name, process, port)
