"""A real SMTP server that keeps what it is sent: smtp.py starttls|implicit DIR CERT KEY REFUSALS.

Prints its port. The first REFUSALS messages are put off (451); each other one becomes DIR/N.eml, below the lines of its
envelope. Ends with its standard input."""

import asyncio
import itertools
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

MODE, DIR, CERT, KEY, REFUSALS = sys.argv[1:]


class Keeper:
    """What comes, numbered."""

    numbers = itertools.count(1)

    async def handle_DATA(self, server, session, envelope):
        number = next(self.numbers)
        kept = number > int(REFUSALS)
        path = pathlib.Path(DIR) / f"{number}.{'eml' if kept else 'refused'}"
        head = f"X-Envelope-From: {envelope.mail_from}\nX-Envelope-To: {' '.join(envelope.rcpt_tos)}\n"
        part = path.with_suffix(".part")
        part.write_bytes(head.encode() + envelope.content)
        part.rename(path)
        return "250 kept" if kept else "451 come back later"


def authenticate(server, session, envelope, mechanism, data):
    known = (data.login, data.password) == (b"roost", b"pass word")
    return AuthResult(success=known, handled=known)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERT, KEY)
    first = MODE == "implicit"

    def connection():
        return SMTP(
            Keeper(),
            hostname="localhost",
            require_starttls=not first,
            tls_context=None if first else context,
            authenticator=authenticate,
            auth_required=True,
            auth_require_tls=not first,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=context if first else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
