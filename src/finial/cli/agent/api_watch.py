"""`finial agent api watch`: what a workload is told now, and at every change."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, TypeVar

import click

from finial.cli.agent.api_jwt import jwt_bundles_json, shown_jwt_bundles
from finial.cli.agent.api_wit import shown_wit, wit_json
from finial.cli.agent.api_x509 import shown_x509, x509_json
from finial.cli.agent.endpoint import ask, workload_address, workload_socket_option
from finial.cli.commands import Command
from finial.cli.options import output_option
from finial.cli.show import JSON, note
from finial.sdk.calls import Revoked, Updated
from finial.sdk.workload import WorkloadClient

_X509, _JWT_BUNDLES, _WIT = "x509", "jwt-bundles", "wit"
_WHAT: Final = (_X509, _JWT_BUNDLES, _WIT)

Value = TypeVar("Value")


@click.command(
    "watch",
    cls=Command,
    examples="""
    finial agent api watch
    finial agent api watch --output json
    finial agent api watch jwt-bundles
    """,
)
@click.argument("what", type=click.Choice(_WHAT), default=_X509)
@workload_socket_option
@output_option
def watch(*, what: str, socket: str | None, output: str) -> None:
    """Show what this process is told now and at every change, until it is interrupted.

    That is its X.509-SVIDs; or jwt-bundles, the keys that tokens of others are validated with; or wit, its
    WIT-SVIDs, which are incubating. With --output json each change is a line, and private keys are printed
    too.
    """
    as_json = output == JSON

    async def follow(client: WorkloadClient) -> None:
        if what == _JWT_BUNDLES:
            bundles = client.watch_jwt_bundles()
            await _show(bundles, jwt_bundles_json if as_json else _apart(shown_jwt_bundles))
        elif what == _WIT:
            await _show(client.watch_wit(), wit_json if as_json else _apart(shown_wit))
        else:
            await _show(client.watch_x509(), x509_json if as_json else _apart(shown_x509))

    ask(workload_address(socket), follow)


async def _show(events: AsyncGenerator[Updated[Value] | Revoked, None], text: Callable[[Value], str]) -> None:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Revoked):
                note(f"no identity: {event.why}")
            else:
                click.echo(text(event.value))  # its lines are fit for a terminal already
            sys.stdout.flush()


def _apart(text: Callable[[Value], str]) -> Callable[[Value], str]:
    """The same, with an empty line behind, which keeps one change from the next."""
    return lambda value: f"{text(value)}\n"
