"""`finial server run`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finial.cli.commands import Command
from finial.cli.options import settings_options
from finial.cli.running import run_until_signal, settings_of
from finial.cli.show import note
from finial.runtime import log
from finial.runtime.chance import SystemChance
from finial.runtime.clock import SystemClock
from finial.server.config import ServerSettings

if TYPE_CHECKING:
    from finial.server.app import Running


@click.command(
    "run",
    cls=Command,
    examples="""
    finial server run --trust-domain example.org
    finial server run --config /etc/finial/server.toml
    finial server run --trust-domain example.org --data-dir ./server --bind 127.0.0.1:8081 \\
        --socket ./server/server.sock
    """,
)
@settings_options(ServerSettings)
def run(config: Path | None, **options: object) -> None:
    """Run a server in the foreground until SIGINT or SIGTERM.

    An option goes before the file, the file before the default. In the file a setting has the name of its
    option, with underscores: ca_ttl = "12h".
    """
    settings = settings_of(ServerSettings, config, options)
    log.start(settings.log_level, as_json=settings.log_format == "json")
    # Here, since help and mistakes in the settings need neither the database nor the authorities.
    from finial.server import app  # noqa: PLC0415

    async def serve(stop: asyncio.Event) -> None:
        await app.run(settings, clock=SystemClock(), chance=SystemChance(), stop=stop, ready=_ready)

    run_until_signal(serve)


def _ready(running: Running) -> None:
    note(
        f"the server of {running.trust_domain} is ready: agents reach it at {running.address}, "
        f"operators at {running.socket}. Next: finial server token generate --socket {running.socket}"
    )
