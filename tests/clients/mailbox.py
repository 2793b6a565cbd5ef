"""A server that takes mail (aiosmtpd) and says what it took.

The argument is JSON: {"tls": "none" | "starttls" | "implicit", "cert": ..., "key": ..., "login": [name, password]}. Prints its
port, then a line of JSON for each message, as Python's own parser reads it. Lines of JSON on standard input say what RCPT of
an address is answered next, one answer after the other: {"bob@example.com": ["451 4.2.1 later", "250 OK"]}.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

WANTED = json.loads(sys.argv[1])
ANSWERS = {}


class Mailbox:
    """Takes everything that nothing else is said of."""

    async def handle_RCPT(self, server, session, envelope, address, options):
        answers = ANSWERS.get(address, [])
        answer = answers.pop(0) if answers else "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.content
        message = email.message_from_bytes(raw, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        defects = [str(one) for part in message.walk() for one in part.defects]
        defects += [f"{name}: {one}" for name, value in message.items() for one in value.defects]
        lines = raw.split(b"\r\n")
        if any(b"\n" in line or b"\r" in line or len(line) > 998 for line in lines) or not raw.isascii():
            defects.append("a line that is none")
        report = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in message.items()],
            "parts": parts,
            "defects": defects,
            "is_encrypted": session.ssl is not None or WANTED["tls"] == "implicit",
            "login": session.auth_data.login.decode() if session.auth_data else None,
        }
        print(json.dumps(report), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    if isinstance(data, LoginPassword) and [data.login.decode(), data.password.decode()] == WANTED["login"]:
        return AuthResult(success=True, auth_data=data)
    return AuthResult(success=False, handled=False)


def serve():
    options = {"enable_SMTPUTF8": False, "hostname": "mail.example.com"}
    if WANTED["tls"] == "starttls":
        options |= {"tls_context": context(), "require_starttls": True}
    if WANTED.get("login"):
        options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": WANTED["tls"] == "starttls"}
    return SMTP(Mailbox(), loop=asyncio.get_running_loop(), **options)


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(WANTED["cert"], WANTED["key"])
    return made


async def main():
    loop = asyncio.get_running_loop()
    implicit = context() if WANTED["tls"] == "implicit" else None
    server = await loop.create_server(serve, "127.0.0.1", 0, ssl=implicit)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        ANSWERS.update(json.loads(line))
        print(json.dumps("heard"), flush=True)


asyncio.run(main())
