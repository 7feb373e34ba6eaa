"""`finial agent healthcheck`."""

from __future__ import annotations

from pathlib import Path

import click

from finial.cli.commands import Command
from finial.cli.health import check
from finial.cli.options import socket_option


@click.command(
    "healthcheck",
    cls=Command,
    examples="""
    finial agent healthcheck
    finial agent healthcheck --socket /run/finial/agent/agent.sock
    """,
)
@socket_option("agent")
def healthcheck(socket: str) -> None:
    """Ask whether an agent serves; the exit code is 0 when it does."""
    check("agent", Path(socket))
