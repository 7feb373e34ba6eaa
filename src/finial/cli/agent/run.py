"""`finial agent run`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finial.agent.config import AgentSettings
from finial.cli.commands import Command
from finial.cli.options import settings_options
from finial.cli.running import run_until_signal, settings_of
from finial.cli.show import note
from finial.runtime import log
from finial.runtime.chance import SystemChance
from finial.runtime.clock import SystemClock

if TYPE_CHECKING:
    from finial.agent.app import Running


@click.command(
    "run",
    cls=Command,
    examples="""
    finial agent run --server server.example.org:8081 --trust-bundle bundle.pem --join-token-file token
    finial server token generate | finial agent run --server 127.0.0.1:8081 --trust-bundle bundle.pem \\
        --join-token-file -
    finial agent run --config /etc/finial/agent.toml
    """,
)
@settings_options(AgentSettings)
def run(config: Path | None, **options: object) -> None:
    """Run an agent in the foreground until SIGINT or SIGTERM.

    The join token and the trust bundle are needed only until the agent has joined. An option goes before the
    file, the file before the default. In the file a setting has the name of its option, with underscores.
    """
    settings = settings_of(AgentSettings, config, options)
    log.start(settings.log_level, as_json=settings.log_format == "json")
    # Here, since help and mistakes in the settings need none of it.
    from finial.agent import app  # noqa: PLC0415

    async def serve(stop: asyncio.Event) -> None:
        await app.run(settings, clock=SystemClock(), chance=SystemChance(), stop=stop, ready=_ready)

    run_until_signal(serve)


def _ready(running: Running) -> None:
    path = running.socket.path
    note(
        f"the agent of {running.agent_id.trust_domain} is ready: workloads reach it at {path}. "
        f"Next: finial agent api fetch x509 --socket {path}"
    )
