"""TLS from the first byte, protocol 3.2, channel binding and cancels, with a libpq that is new enough for them. Prints what
happened."""

import os
import re
import threading

import psycopg
from psycopg import errors

URL = os.environ["DATABASE_URL"]
STRICT = {"sslmode": "verify-full", "channel_binding": "require", "min_protocol_version": "3.2"}

assert psycopg.pq.version() >= 180000, "the drivers are too old; run: scripts/setup --tests"


def session(label, **options):
    with psycopg.connect(URL, autocommit=True, **{**STRICT, **options}) as connection:
        print(label, connection.execute("SELECT 'works'").fetchone()[0], flush=True)
        done = threading.Event()

        def cancel():
            # One that comes before the statement is forgotten.
            while not done.wait(0.05):
                connection.cancel_safe(timeout=30)

        canceller = threading.Thread(target=cancel)
        canceller.start()
        try:
            connection.execute("SELECT count(*) FROM generate_series(1, 1000000000000)")
        except errors.QueryCanceled as error:
            print(label, error.diag.message_primary, flush=True)
        finally:
            done.set()
            canceller.join()


def refused(label, **options):
    try:
        psycopg.connect(URL, **{**STRICT, **options}).close()
    except psycopg.OperationalError as error:
        print(label, re.search("FATAL:  (.*)", str(error)).group(1), flush=True)


session("asked for", sslnegotiation="postgres")
session("direct", sslnegotiation="direct")
session("latest", max_protocol_version="latest")
session("3.0", min_protocol_version="3.0", max_protocol_version="3.0")
refused("plaintext", sslmode="disable", channel_binding="prefer")
refused("wrong password", password="wrong")
