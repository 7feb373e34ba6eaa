"""Our test server as a process of its own, for the tests that measure its memory.

Run with the engine and the address (`unix:PATH`, or `tls` and the files as JSON); prints one JSON line with
the address when it is ready; ends when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from finial.rpc import LOCAL, Limits, Rate, Server, ServerTLS, Tcp, Unix
from finial.runtime.tls import KeyPair, server_context
from support.interop_certs import verifier
from support.interop_service import PeerService

_HANDSHAKE = timedelta(seconds=2)  # short, for the test of half-open ones to be so
_RESETS = Rate(2_000, 0.0)  # none come back: on a busy machine a flood may be slower than what is allowed


def _tls(files: dict[str, str]) -> ServerTLS:
    root = ssl.PEM_cert_to_DER_cert(Path(files["roots"]).read_text())
    pair = KeyPair(Path(files["cert"]).read_bytes(), Path(files["key"]).read_bytes())
    context = server_context(pair, [root])
    return ServerTLS(lambda: context, verifier(root, files["expect"]))


async def main(engine: str, where: str) -> None:
    """Serve until standard input ends."""
    secure = not where.startswith("unix:")
    limits = replace(Limits() if secure else LOCAL, handshake_timeout=_HANDSHAKE, resets=_RESETS)
    async with Server(PeerService().routes(), limits=limits, engine=engine) as server:
        if secure:
            address = await server.listen(Tcp("127.0.0.1", 0), tls=_tls(json.loads(where)))
        else:
            address = await server.listen(Unix(where.removeprefix("unix:")))
        print(json.dumps({"address": str(address)}), flush=True)
        ended = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(ended), sys.stdin
        )
        await ended.read()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
