"""The server that `bench.rpc` measures: unary echoes and a stream that idles. Ends with standard input."""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from finial.rpc import LOCAL, Limits, Route, Server, ServerCall, ServerTLS, Tcp, Unix, server_stream, unary
from finial.runtime.tls import KeyPair, server_context
from support.interop_certs import verifier
from support.interop_service import PLAIN, SERVER_STREAM, UNARY

Call = ServerCall[bytes, bytes]
Main = Callable[[Coroutine[Any, Any, None]], None]


def _echo(request: bytes, call: Call) -> bytes:  # noqa: ARG001 - the form of a handler
    return request.removeprefix(b"echo:")


async def _echo_in_a_task(request: bytes, call: Call) -> bytes:
    return _echo(request, call)


async def _idle(request: bytes, call: Call) -> None:  # noqa: ARG001 - the form of a handler
    await call.send(b"0")
    await asyncio.get_running_loop().create_future()


def _routes() -> list[Route]:
    return [unary(PLAIN, _echo), unary(UNARY, _echo_in_a_task), server_stream(SERVER_STREAM, _idle)]


def _tls(files: dict[str, str]) -> ServerTLS:
    root = ssl.PEM_cert_to_DER_cert(Path(files["roots"]).read_text(encoding="ascii"))
    pair = KeyPair(Path(files["cert"]).read_bytes(), Path(files["key"]).read_bytes())
    context = server_context(pair, [root])
    return ServerTLS(lambda: context, verifier(root, files["expect"]))


async def _serve(engine: str, listen: str, files: dict[str, str] | None) -> None:
    limits = replace(LOCAL if files is None else Limits(), max_connections=20_000)
    async with Server(_routes(), limits=limits, engine=engine) as server:
        if files is None:
            address = await server.listen(Unix(listen.removeprefix("unix:")))
        else:
            host, _, port = listen.rpartition(":")
            address = await server.listen(Tcp(host, int(port)), tls=_tls(files))
        print(json.dumps({"address": str(address)}), flush=True)
        ended = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(ended), sys.stdin
        )
        await ended.read()


def _runner(loop: str) -> Main:
    if loop == "asyncio":
        return asyncio.run
    import uvloop  # noqa: PLC0415 - optional

    return uvloop.run


def main() -> None:
    """Serve what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["ngh2", "h2"], default="ngh2")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--listen", required=True, help="unix:PATH, or HOST:PORT with --tls")
    parser.add_argument("--tls", type=json.loads, help="JSON with cert, key, roots and expect")
    options = parser.parse_args()
    _runner(options.loop)(_serve(options.engine, options.listen, options.tls))


if __name__ == "__main__":
    main()
