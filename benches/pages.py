"""What open pages and waiting requests cost a running proxy: memory and CPU of its process.

    python3 benches/pages.py --pid PID --web http://127.0.0.1:8543 --token TOKEN --dsn 'host=127.0.0.1 port=6543 user=alice dbname=shop'

Makes requests that wait for votes by sending that many UPDATEs in mode resubmit (PGPASSWORD is the requester's), opens pages'
streams of events, and measures before, with all of that and nothing happening, and while somebody comments on requests.
"""

import argparse
import json
import os
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def usage(pid):
    """Resident memory in MB, and CPU seconds so far."""
    with open(f"/proc/{pid}/status") as status:
        rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return rss / 1024, (int(fields[11]) + int(fields[12])) / TICKS


def report(name, pid, seconds=0.0, act=None):
    """Memory, and the CPU of so many seconds in which `act` happens."""
    before = usage(pid)[1]
    begin = time.monotonic()
    done = act(seconds) if act else time.sleep(seconds)
    took = time.monotonic() - begin
    rss, after = usage(pid)
    share = 100 * (after - before) / took if took else 0.0
    print(json.dumps({"when": name, "rss_mb": round(rss, 1), "cpu_percent": round(share, 1), "done": done}), flush=True)


def make_requests(dsn, count):
    script = "SET countersign.mode = 'resubmit';\n"
    script += "".join(f"UPDATE orders SET status = 'bench {number}' WHERE id = {number};\n" for number in range(count))
    subprocess.run(["psql", "-qX", dsn], input=script, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Streams:
    """Streams of events that are read and thrown away."""

    def __init__(self, web, tokens, count):
        where = urllib.parse.urlsplit(web)
        self.received = 0
        self.sockets = []
        for number in range(count):
            # One person has 64 at most.
            token = tokens[number % len(tokens)]
            call = f"GET /api/v1/events HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
            stream = socket.create_connection((where.hostname, where.port))
            stream.sendall(call.encode())
            assert b" 200 " in stream.recv(4096).split(b"\r\n")[0], "a stream was refused"
            stream.setblocking(False)
            self.sockets.append(stream)
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        import selectors

        ready = selectors.DefaultSelector()
        for stream in self.sockets:
            ready.register(stream, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                self.received += key.fileobj.recv(65536).count(b"event: request")


def comment(web, token, ids):
    """Comments for so many seconds; how many."""

    def act(seconds):
        end = time.monotonic() + seconds
        count = 0
        while time.monotonic() < end:
            call = urllib.request.Request(
                f"{web}/api/v1/requests/{ids[count % len(ids)]}/comments",
                data=json.dumps({"text": f"comment {count}"}).encode(),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            urllib.request.urlopen(call).read()
            count += 1
            time.sleep(max(0.0, 0.1 - (time.monotonic() % 0.1)))
        return count

    return act


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["--pid", "--web", "--dsn"]:
        arguments.add_argument(name, required=True)
    arguments.add_argument("--token", required=True, nargs="+", help="of as many people as pages / 64")
    arguments.add_argument("--requests", type=int, default=10_000)
    arguments.add_argument("--pages", type=int, default=500)
    arguments.add_argument("--seconds", type=float, default=20.0)
    given = arguments.parse_args()
    report("nothing", given.pid, 5.0)
    begin = time.monotonic()
    make_requests(given.dsn, given.requests)
    print(json.dumps({"requests_made_s": round(time.monotonic() - begin, 1)}), flush=True)
    report(f"{given.requests} requests wait", given.pid, given.seconds)
    streams = Streams(given.web, given.token, given.pages)
    report(f"and {given.pages} pages are open", given.pid, given.seconds)
    listing = urllib.request.Request(
        f"{given.web}/api/v1/requests?status=PENDING&limit=50", headers={"Authorization": f"Bearer {given.token[0]}"}
    )
    ids = [request["id"] for request in json.load(urllib.request.urlopen(listing))["requests"]]
    report("and ten comments a second", given.pid, given.seconds, comment(given.web, given.token[0], ids))
    print(json.dumps({"events_received": streams.received}))


main()
