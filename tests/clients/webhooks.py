"""Verifies what a webhook was sent, by the reference implementation of Standard Webhooks, and its payload by the schema.

Reads lines of JSON: {"secret": ..., "headers": {...}, "body": "..."}; prints the type of each event.
"""

import json
import sys

import jsonschema_rs
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], encoding="utf-8") as file:
    validator = jsonschema_rs.validator_for(json.load(file))

for line in sys.stdin:
    call = json.loads(line)
    webhook = Webhook(call["secret"])
    event = webhook.verify(call["body"], call["headers"])
    validator.validate(event)
    for changed in (call["body"].replace("type", "typf", 1), call["body"] + " "):
        try:
            webhook.verify(changed, call["headers"])
        except WebhookVerificationError:
            continue
        sys.exit("a changed body was verified")
    print(event["type"])
