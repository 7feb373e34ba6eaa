"""`finial server token generate`."""

from __future__ import annotations

from pathlib import Path

import click

from finial.cli.commands import Command
from finial.cli.inputs import Inputs, seconds
from finial.cli.options import output_option, socket_option
from finial.cli.session import ask
from finial.cli.show import JSON, instant, note, say
from finial.core.ids import SpiffeID
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.jsontext import to_json
from finial.wire.registry import id_message


@click.command(
    "generate",
    cls=Command,
    examples="""
    finial server token generate --spiffe-id spiffe://example.org/node1
    finial server token generate --ttl 5m > token
    """,
)
@socket_option("server")
@click.option("--spiffe-id", metavar="SPIFFE_ID", help="A name for the agent, for the parent of entries.")
@click.option(
    "--ttl",
    metavar="DURATION",
    default="10m",
    show_default=True,
    help="For how long it is good.",
)
@output_option
def generate(socket: str, spiffe_id: str | None, ttl: str, output: str) -> None:
    """Make a join token: one agent may join with it, once.

    The token alone goes to standard output; whoever has it can join, so keep it from other eyes.
    """
    inputs = Inputs()
    agent_id = None if spiffe_id is None else inputs.take("--spiffe-id", lambda: SpiffeID(spiffe_id))
    life = inputs.take("--ttl", lambda: _life(ttl))
    inputs.check()
    request = agent_pb.CreateJoinTokenRequest(
        ttl=life, agent_id=None if agent_id is None else id_message(agent_id)
    )
    reply = ask(Path(socket), agent_pb.Agent.CreateJoinToken, request)
    if output == JSON:
        say(to_json(reply))
        return
    say(reply.value)
    named = "" if agent_id is None else f", and is then the parent {agent_id}"
    note(f"one agent may join with it until {instant(reply.expires_at)}{named}")


def _life(text: str) -> int:
    found = seconds(text)
    if not found:
        raise ValueError("a token that is never valid is of no use")
    return found
