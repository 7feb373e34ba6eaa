"""What the commands have in common that ask an agent as a workload does: where it is, how long to wait."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import click

from finial.cli.inputs import only
from finial.cli.options import socket_option
from finial.core.ids import TrustDomain
from finial.rpc import Address, Unix
from finial.runtime import collector
from finial.runtime.config import default_socket, read_duration
from finial.runtime.text import visible
from finial.sdk.address import ENVIRONMENT_VARIABLE, endpoint_address
from finial.sdk.workload import WorkloadClient

_SCHEMES: Final = ("unix:", "tcp:")

F = TypeVar("F", bound=Callable[..., object])
Result = TypeVar("Result")


def workload_socket_option(function: F) -> F:
    """`--socket` of the agent, else what `SPIFFE_ENDPOINT_SOCKET` says, else the agent's default."""
    return socket_option("agent", environ=ENVIRONMENT_VARIABLE)(function)


def timeout_option(function: F) -> F:
    """`--timeout`."""
    return click.option(
        "--timeout",
        metavar="DURATION",
        default="10s",
        show_default=True,
        help="How long to wait for an answer.",
    )(function)


def timeout_of(text: str) -> timedelta:
    """What `--timeout` says; raises InputError."""
    return only("--timeout", lambda: read_duration(text))


def workload_address(socket: str | None) -> Address:
    """Where the Workload API is: a path or a URI that was given, the environment's, or the default."""
    if socket is not None:
        return endpoint_address(socket) if socket.startswith(_SCHEMES) or "://" in socket else Unix(socket)
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return endpoint_address()
    return Unix(str(default_socket("agent")))


def ask(address: Address, question: Callable[[WorkloadClient], Coroutine[Any, Any, Result]]) -> Result:
    """What a question to the Workload API comes to, asked on an event loop of its own.

    Args:
        address: Where it is.
        question: Asks.
    """

    async def main() -> Result:
        async with WorkloadClient(address) as client:
            return await question(client)

    collector.usually()  # the question may be asked for days
    return asyncio.run(main())


def labelled(label: str, whose: str, value: str) -> str:
    """`token(spiffe://example.org/web):` and the value below it, as SPIRE's agent prints them."""
    return f"{label}({whose}):\n\t{visible(value)}"


def key_set_blocks(key_sets: Mapping[TrustDomain, bytes]) -> Iterator[str]:
    """For people: the keys of each trust domain, as JSON on a line."""
    for trust_domain, keys in key_sets.items():
        yield labelled("bundle", trust_domain.id.text, json.dumps(json.loads(keys), separators=(",", ":")))
