"""Where the suites come from: Debian's source packages, PyPI and npm. Everything lies in target/conformance.

Never changes the system's package sources or installs anything into the system. Invariant: what was fetched once is not
fetched again; a directory appears under its name only when it is whole.
"""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

from stand import REPOSITORY, Failure, pg_config, run

HOME = REPOSITORY / "target" / "conformance"
DEBIAN = os.environ.get("CONFORMANCE_DEBIAN", "http://deb.debian.org/debian")
SECURITY = os.environ.get("CONFORMANCE_DEBIAN_SECURITY", "http://deb.debian.org/debian-security")


def whole(name, make):
    """The directory of that name; `make` fills a new one when it is not there yet."""
    target = HOME / name
    if target.exists():
        return target
    print(f"==> preparing {name}", file=sys.stderr)
    partial = HOME / f".{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    partial.rename(target)
    return target


def step(command, where, what):
    """One command of a preparation."""
    log = HOME / "prepare.log"
    if run(command, log, cwd=where) != 0:
        raise Failure(f"{what} failed, see {log}")


def fetch(url, path):
    try:
        with urllib.request.urlopen(url, timeout=120) as answer, open(path, "wb") as out:
            shutil.copyfileobj(answer, out)
    except (urllib.error.URLError, OSError) as error:
        raise Failure(f"could not fetch {url}: {error}") from None


def debian_sources(suite, mirror):
    """The index of source packages of one suite, as text."""
    index = HOME / f"Sources-{suite.replace('/', '-')}"
    if not index.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        packed = index.with_suffix(".xz")
        fetch(f"{mirror}/dists/{suite}/main/source/Sources.xz", packed)
        with open(index, "wb") as out:
            subprocess.run(["xz", "-dc", packed], stdout=out, check=True)
        packed.unlink()
    return index.read_text(encoding="utf-8")


def debian_original(package, suites, wanted=None):
    """Fetches the upstream tarball of a source package: `(version, path)`. `wanted` is a prefix of its version."""
    seen, failure = [], None
    for suite, mirror in suites:
        for entry in debian_sources(suite, mirror).split("\n\n"):
            if not re.search(rf"^Package: {re.escape(package)}$", entry, re.M):
                continue
            version = re.search(r"^Version: (.*)$", entry, re.M).group(1)
            seen.append(f"{version} ({suite})")
            if wanted is not None and not version.startswith(wanted):
                continue
            directory = re.search(r"^Directory: (.*)$", entry, re.M).group(1)
            tarball = re.search(r"^ ([0-9a-f]{64}) \d+ (\S+\.orig\.tar\.\w+)$", entry, re.M)
            path = HOME / tarball.group(2)
            try:
                if not path.exists():
                    fetch(f"{mirror}/{directory}/{tarball.group(2)}".replace("+", "%2b"), path.with_suffix(".partial"))
                    if hashlib.sha256(path.with_suffix(".partial").read_bytes()).hexdigest() != tarball.group(1):
                        raise Failure(f"{tarball.group(2)} is not what the index says")
                    path.with_suffix(".partial").rename(path)
                return version, path
            except Failure as error:
                failure = error
    raise failure or Failure(f"no source package {package} {wanted or ''}; the mirror has: {', '.join(seen) or 'none'}")


BOOKWORM = [("bookworm", DEBIAN), ("bookworm-security", SECURITY)]


def unpack(tarball, where):
    step(["tar", "xf", tarball, "--strip-components=1", "-C", where], where, f"unpacking {tarball.name}")


def postgresql():
    """PostgreSQL's source in the version of the installed server, with the parts built that the suites need."""
    installed = re.search(r"(\d+)\.(\d+)", pg_config("--version"))
    major = installed.group(1)

    def make(where):
        package = f"postgresql-{major}"
        try:
            _, tarball = debian_original(package, BOOKWORM, f"{installed.group(0)}-")
        except Failure:
            _, tarball = debian_original(package, reversed(BOOKWORM))
        unpack(tarball, where)
        step(["./configure", "-q", "--without-readline", "--without-zlib", "--without-icu", "CFLAGS=-O1 -w"], where, "configure")
        for directory, goal in (("src/backend", "generated-headers"), ("src/port", "all"), ("src/common", "all"),
                                ("src/interfaces/libpq", "all-lib"), ("src/test/regress", "all"),
                                ("src/test/modules/libpq_pipeline", "all")):
            step(["make", "-s", "-C", directory, goal], where, f"make {goal} in {directory}")

    return whole(f"postgresql-{installed.group(0)}", make)
