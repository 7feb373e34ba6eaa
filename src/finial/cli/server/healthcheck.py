"""`finial server healthcheck`."""

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
    finial server healthcheck
    finial server healthcheck --socket /run/finial/server/server.sock
    """,
)
@socket_option("server")
def healthcheck(socket: str) -> None:
    """Ask whether a server serves; the exit code is 0 when it does."""
    check("server", Path(socket))
