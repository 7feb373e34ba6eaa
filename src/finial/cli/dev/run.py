"""`finial dev`."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from finial.cli.commands import Command
from finial.cli.dev.file import EXAMPLE, DevSettings, Plan, PlanFile
from finial.cli.dev.machine import ThisMachine
from finial.cli.options import FILE, settings_options
from finial.cli.report import error_lines
from finial.cli.running import run_until_signal
from finial.cli.show import note, say
from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError
from finial.runtime import log
from finial.runtime.chance import SystemChance
from finial.runtime.clock import SystemClock
from finial.runtime.config import write_duration
from finial.sdk.address import ENVIRONMENT_VARIABLE

if TYPE_CHECKING:
    from finial.cli.dev.domain import Places
    from finial.cli.dev.entries import Changes


_HELP = f"""Run a server and an agent for this machine, both in this one process, until SIGINT or SIGTERM.

Without FILE each of your processes is spiffe://TRUST_DOMAIN/YOUR_NAME. With FILE it says who is who, and is
followed: what is changed in it takes effect at once.

\b
{EXAMPLE}"""


@click.command(
    "dev",
    cls=Command,
    help=_HELP,
    examples="""
    finial dev
    finial dev dev.toml
    finial dev dev.toml --trust-domain example.org --data-dir ./dev --socket ./dev/agent.sock
    """,
)
@click.argument("file", required=False, type=FILE)
@settings_options(DevSettings, config=False)
def dev(file: Path | None, **options: object) -> None:
    """Run a server and an agent for this machine, with the identities that a file asks for."""
    plans = PlanFile(file, options, ThisMachine())
    plan = plans.read()
    log.start(plan.settings.log_level)
    # Here, since help and mistakes in the file need neither the database nor the authorities.
    from finial.cli.dev import domain  # noqa: PLC0415

    async def serve(stop: asyncio.Event) -> None:
        world = domain.World(SystemClock(), SystemChance())
        await domain.run(plan, plans, Screen(file), world=world, stop=stop)

    run_until_signal(serve)


class Screen:
    """Tells a person what happens.

    Args:
        file: The file that is followed; None for none.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def up(self, places: Places, plan: Plan) -> None:
        """Say what there is and what to do next."""
        uri = f"unix://{quote(str(places.workload_api))}"
        followed = f", by {self._file}, which is followed" if self._file else ""
        lines = [
            f"The trust domain {plan.settings.trust_domain} is up until Ctrl-C ends it.",
            f"The next start goes on from what it keeps in {plan.settings.folder}",
            "",
            f"Identities{followed}:",
            *(f"  {line}" for line in described(plan.entries)),
            "",
            "In another terminal:",
            f"  export {ENVIRONMENT_VARIABLE}={shlex.quote(uri)}",
            "  finial agent api fetch x509",
            "",
            "What the server knows:",
            f"  finial server entry show --socket {shlex.quote(str(places.admin))}",
        ]
        say("\n".join(lines))

    def changed(self, changes: Changes) -> None:
        """Say what is different now."""
        parts = (("new", changes.created), ("changed", changes.updated), ("gone", changes.deleted))
        lines = [f"  {word.ljust(7)}  {line}" for word, entries in parts for line in described(entries)]
        say("\n".join([f"{self._file} was changed:", *(lines or ["  no identity is another"])]))

    def refused(self, error: FinialError) -> None:
        """Say what is wrong with the file."""
        for line in error_lines(error):
            click.echo(line, err=True)
        note(f"{self._file} was changed and cannot be used; the identities stay as they were")


def described(entries: Iterable[RegistrationEntry]) -> Iterator[str]:
    """A line for each identity: who, for which processes, and what else was chosen."""
    shown = list(entries)
    width = max((len(entry.spiffe_id.text) for entry in shown), default=0)
    for entry in shown:
        parts = [" and ".join(map(str, entry.selectors))]
        parts += [f"ttl {write_duration(entry.x509_svid_ttl)}"] if entry.x509_svid_ttl else []
        parts += [f"dns {', '.join(entry.dns_names)}"] if entry.dns_names else []
        parts += [f"hint {entry.hint}"] if entry.hint else []
        yield f"{entry.spiffe_id.text.ljust(width)}  {'; '.join(parts)}"
