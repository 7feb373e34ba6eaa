"""`finial server agent list`, `show`, `count`, `ban` and `evict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack

import click

from finial.cli.commands import Command
from finial.cli.inputs import Inputs, spiffe_id_of
from finial.cli.options import output_option, socket_option
from finial.cli.server.entry_show import id_text
from finial.cli.server.filters import match_option, selector_match
from finial.cli.session import PAGE_SIZE, Session, ask, talk
from finial.cli.show import JSON, block, instant, say, table, yes_no
from finial.core.errors import shown
from finial.wire.agents import expires_before
from finial.wire.gen import google_protobuf
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.jsontext import to_json
from finial.wire.registry import id_message

F = TypeVar("F", bound=Callable[..., object])

_EXAMPLE = "'2027-01-31 12:00:00 +0000 +00'"


class FilterOptions(TypedDict):
    """What the options of `agent list` and `agent count` give."""

    attestation_type: str | None
    selector: tuple[str, ...]
    match_selectors_on: str
    banned: bool | None
    can_reattest: bool | None
    expires_before: str | None


def _filter_options(function: F) -> F:
    for option in reversed(
        (
            click.option("--attestation-type", metavar="NAME", help="Only agents attested by this plugin."),
            click.option("--selector", metavar="TYPE:VALUE", multiple=True, help="Only agents with these."),
            match_option("selectors"),
            click.option("--banned/--no-banned", default=None, help="Only agents that are, or are not."),
            click.option(
                "--can-reattest/--no-can-reattest", default=None, help="Only agents that can or cannot."
            ),
            click.option(
                "--expires-before",
                metavar="TIME",
                help=f"Only agents whose SVID ends before this: {_EXAMPLE}.",
            ),
        )
    ):
        function = option(function)
    return function


def _filter(given: FilterOptions) -> agent_pb.ListAgentsRequest.Filter:
    inputs = Inputs()
    banned, can_reattest = given["banned"], given["can_reattest"]
    found = agent_pb.ListAgentsRequest.Filter(
        by_attestation_type=given["attestation_type"],
        by_selector_match=selector_match(inputs, given["selector"], given["match_selectors_on"]),
        by_banned=None if banned is None else google_protobuf.BoolValue(value=banned),
        by_can_reattest=None if can_reattest is None else google_protobuf.BoolValue(value=can_reattest),
        by_expires_before=_expires_before(inputs, given["expires_before"]),
    )
    inputs.check()
    return found


def _expires_before(inputs: Inputs, text: str | None) -> str | None:
    # A server passes over what it cannot read, and would then list every agent.
    if text is not None and expires_before(text) is None:
        inputs.wrong("--expires-before", f"{shown(text)} is not a time like {_EXAMPLE}")
    return text


@click.command(
    "list",
    cls=Command,
    examples="""
    finial server agent list
    finial server agent list --banned
    finial server agent list --attestation-type join_token --output json
    """,
)
@socket_option("server")
@_filter_options
@output_option
def list_agents(socket: str, output: str, **given: Unpack[FilterOptions]) -> None:
    """List the agents that have joined, all of them or those that fit every filter."""
    wanted = _filter(given)

    async def work(session: Session) -> agent_pb.ListAgentsResponse:
        whole = agent_pb.ListAgentsResponse()
        token = ""
        while True:
            request = agent_pb.ListAgentsRequest(filter=wanted, page_size=PAGE_SIZE, page_token=token)
            page = await session.call(agent_pb.Agent.ListAgents, request)
            whole.agents.extend(page.agents)
            token = page.next_page_token
            if not token:
                return whole

    reply = talk("server", Path(socket), work)
    if output == JSON:
        say(to_json(reply))
    elif reply.agents:
        table(["SPIFFE ID", "ATTESTED BY", "SVID ENDS", "STATE", "VERSION"], [_row(a) for a in reply.agents])
    else:
        say("No agents")


def _row(agent: types.Agent) -> list[str]:
    return [
        id_text(agent.id),
        agent.attestation_type,
        instant(agent.x509svid_expires_at),
        "banned" if agent.banned else "joined",
        agent.agent_version or "-",
    ]


@click.command(
    "show",
    cls=Command,
    examples="""
    finial server agent show --spiffe-id spiffe://example.org/spire/agent/join_token/1f3c
    """,
)
@socket_option("server")
@click.option("--spiffe-id", metavar="SPIFFE_ID", required=True, help="The agent.")
@output_option
def show(socket: str, spiffe_id: str, output: str) -> None:
    """Show an agent, with the selectors of its node."""
    request = agent_pb.GetAgentRequest(id=id_message(spiffe_id_of("--spiffe-id", spiffe_id)))
    reply = ask(Path(socket), agent_pb.Agent.GetAgent, request)
    say(to_json(reply) if output == JSON else block(_lines(reply)))


def _lines(agent: types.Agent) -> Iterator[tuple[str, str]]:
    yield "SPIFFE ID", id_text(agent.id)
    yield "Attested by", agent.attestation_type
    yield "SVID ends", instant(agent.x509svid_expires_at)
    yield "Serial number", agent.x509svid_serial_number or "-"
    yield "Banned", yes_no(agent.banned)
    yield "Can re-attest", yes_no(agent.can_reattest)
    yield "Version", agent.agent_version or "-"
    for selector in agent.selectors:
        yield "Selector", f"{selector.type}:{selector.value}"


@click.command(
    "count",
    cls=Command,
    examples="""
    finial server agent count
    finial server agent count --banned
    """,
)
@socket_option("server")
@_filter_options
@output_option
def count(socket: str, output: str, **given: Unpack[FilterOptions]) -> None:
    """Count the agents that have joined, all of them or those that fit every filter."""
    # The filters of both calls have the same fields, by name and number.
    wanted = agent_pb.CountAgentsRequest.Filter.FromString(_filter(given).SerializeToString())
    reply = ask(Path(socket), agent_pb.Agent.CountAgents, agent_pb.CountAgentsRequest(filter=wanted))
    say(to_json(reply) if output == JSON else f"{reply.count} {'agent' if reply.count == 1 else 'agents'}")


@click.command(
    "ban",
    cls=Command,
    examples="""
    finial server agent ban --spiffe-id spiffe://example.org/spire/agent/join_token/1f3c
    """,
)
@socket_option("server")
@click.option("--spiffe-id", metavar="SPIFFE_ID", required=True, help="The agent.")
@output_option
def ban(socket: str, spiffe_id: str, output: str) -> None:
    """Bar an agent: it loses its SVID now, and may not come back until it is evicted."""
    request = agent_pb.BanAgentRequest(id=id_message(spiffe_id_of("--spiffe-id", spiffe_id)))
    reply = ask(Path(socket), agent_pb.Agent.BanAgent, request)
    say(to_json(reply) if output == JSON else f"Banned agent {spiffe_id}")


@click.command(
    "evict",
    cls=Command,
    examples="""
    finial server agent evict --spiffe-id spiffe://example.org/spire/agent/join_token/1f3c
    """,
)
@socket_option("server")
@click.option("--spiffe-id", metavar="SPIFFE_ID", required=True, help="The agent.")
@output_option
def evict(socket: str, spiffe_id: str, output: str) -> None:
    """Forget an agent: it loses its SVID now, and may join again with a new attestation."""
    request = agent_pb.DeleteAgentRequest(id=id_message(spiffe_id_of("--spiffe-id", spiffe_id)))
    reply = ask(Path(socket), agent_pb.Agent.DeleteAgent, request)
    say(to_json(reply) if output == JSON else f"Evicted agent {spiffe_id}")
