#!/usr/bin/env python3
"""Checks a Countersign audit trail without Countersign: python3 verify_audit.py --key HEX DIRECTORY

Reads the segments in order and checks that each record carries the hash of the one before it, and that the checkpoints are
signed with the given key, or with one it handed over to. Needs Python 3.8 and, for signatures, the package "cryptography".
Exits with 0 when the trail is intact and with 1 when it is not.
"""

import argparse
import gzip
import hashlib
import json
import pathlib
import sys

CHECKPOINT_RECORDS = 1000  # what a crash leaves unsigned at most


def verifies(key, message, signature):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), message)
        return True
    except (InvalidSignature, ValueError):
        return False


def lines(directory):
    segments = [*directory.glob("*.jsonl"), *directory.glob("*.jsonl.gz")]
    numbers = {path.name.split(".")[0] for path in segments}
    for number in sorted(numbers):
        plain = directory / f"{number}.jsonl"
        segment = plain if plain.exists() else directory / f"{number}.jsonl.gz"
        with (gzip.open if segment.suffix == ".gz" else open)(segment, "rb") as file:
            for count, line in enumerate(file, 1):
                yield f"{segment.name}:{count}", line.rstrip(b"\n")


def check(directory, trusted, anchors):
    """Yields what is wrong, and where."""
    seq, last, vouched, retired = None, None, None, {}
    first = None
    for place, line in lines(directory):
        try:
            record = json.loads(line)
            linked = record["prev"] == last if last else True
        except (ValueError, KeyError, TypeError):
            yield f"{place}: not a record"
            return
        if seq is None:
            first, vouched = record, record["seq"] - 1
        elif not linked:
            yield f"{place}: does not carry the hash of the record before it"
            return
        elif record["seq"] != seq + 1 and not (record["kind"] == "gap" and record["seq"] > seq):
            yield f"{place}: record {record['seq']} follows record {seq}"
            return
        seq, last = record["seq"], hashlib.sha256(line).hexdigest()
        if anchors.pop(seq, {last}) != {last}:
            yield f"{place}: record {seq} is not the anchored one"
        if record["kind"] == "retired":
            retired[record["last_seq"]] = record["last_hash"]
        if record["kind"] == "checkpoint" and trusted:
            key = record["key"]
            by = record.get("endorsed_by")
            if by in trusted and verifies(by, b"countersign audit key " + key.encode(), record["endorsement"]):
                trusted.add(key)
            signed = line[: line.rindex(b',"signature":"')]
            if key not in trusted or not verifies(key, signed, record["signature"]):
                yield f"{place}: not signed by a trusted key"
            elif record["since"] - vouched > CHECKPOINT_RECORDS + 1:
                yield f"{place}: the records {vouched + 1} to {record['since'] - 1} are not signed"
            else:
                vouched = seq
    if seq is None:
        yield f"{directory}: no records"
        return
    for missing in sorted(anchor for anchor in anchors if anchor >= first["seq"]):
        yield f"the anchored record {missing} is not there"
    before = "0" * 64 if first["seq"] == 1 else retired.get(first["seq"] - 1)
    if first["prev"] != before:
        yield f"the trail begins at record {first['seq']}, and no record says what became of those before it"
    if trusted and seq - vouched > CHECKPOINT_RECORDS:
        yield f"the records {vouched + 1} to {seq} are not signed"
    try:
        head_seq, head_hash = (directory / "head").read_text().split()
        if int(head_seq) > seq or int(head_seq) == seq and head_hash != last:
            yield f"the trail ends at record {seq}; the file \"head\" knows of record {int(head_seq)}, or another one"
    except OSError:
        print("no file \"head\": whether the end was cut off is not known", file=sys.stderr)
    print(f"last record: {seq}:{last}")


def main():
    parser = argparse.ArgumentParser(description="Check a Countersign audit trail")
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--key", action="append", default=[], help="trusted public key, as \"countersign audit key\" prints it")
    parser.add_argument("--anchor", action="append", default=[], help="SEQ:HASH of a record that must still be there")
    arguments = parser.parse_args()
    anchors = {}
    for anchor in arguments.anchor:
        seq, digest = anchor.split(":")
        anchors.setdefault(int(seq), set()).add(digest)
    findings = list(check(arguments.directory, set(arguments.key), anchors))
    for finding in findings:
        print(finding)
    print("NOT INTACT" if findings else "intact")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
