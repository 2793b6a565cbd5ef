"""Validates configurations by the JSON Schema of countersign.toml.

Reads lines of JSON, each the text of a configuration; prints for each a line of JSON: what the schema has against it, as
"place: message". Where a key is missing counts only without --fragments.
"""

import datetime
import json
import sys
import tomllib

import jsonschema_rs

with open(sys.argv[1], encoding="utf-8") as file:
    validator = jsonschema_rs.validator_for(json.load(file))
fragments = "--fragments" in sys.argv


def as_json(value):
    if isinstance(value, dict):
        return {key: as_json(below) for key, below in value.items()}
    if isinstance(value, list):
        return [as_json(below) for below in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


for line in sys.stdin:
    config = as_json(tomllib.loads(json.loads(line)))
    found = [
        f"{'.'.join(str(part) for part in error.instance_path)}: {error.message}"
        for error in validator.iter_errors(config)
        if not (fragments and error.message.endswith("is a required property"))
    ]
    print(json.dumps(found))
