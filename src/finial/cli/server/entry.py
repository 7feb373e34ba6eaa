"""`finial server entry show`, `delete` and `count`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack

import click

from finial.cli.commands import Command
from finial.cli.inputs import Inputs
from finial.cli.options import output_option, socket_option
from finial.cli.server.entry_delivery import Deliveries, deliveries, print_deliveries, to_json_with
from finial.cli.server.entry_show import print_entries
from finial.cli.server.filters import federates_with_match, match_option, selector_match
from finial.cli.session import PAGE_SIZE, BatchError, Session, answered, ask, refused, talk
from finial.cli.show import JSON, say
from finial.core.errors import Finding
from finial.core.ids import SpiffeID
from finial.wire.gen import google_protobuf
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.jsontext import to_json
from finial.wire.registry import id_message
from finial.wire.statuses import error_of

F = TypeVar("F", bound=Callable[..., object])


class FilterOptions(TypedDict):
    """What the options of `entry show` and `entry count` give."""

    spiffe_id: str | None
    parent_id: str | None
    selector: tuple[str, ...]
    match_selectors_on: str
    federates_with: tuple[str, ...]
    match_federates_with_on: str
    downstream: bool | None
    hint: str | None


def _filter_options(function: F) -> F:
    for option in reversed(
        (
            click.option("--spiffe-id", metavar="SPIFFE_ID", help="Only entries with this SPIFFE ID."),
            click.option("--parent-id", metavar="SPIFFE_ID", help="Only entries with this parent."),
            click.option("--selector", metavar="TYPE:VALUE", multiple=True, help="Only entries with these."),
            match_option("selectors"),
            click.option(
                "--federates-with", metavar="TRUST_DOMAIN", multiple=True, help="Only entries with these."
            ),
            match_option("federates-with"),
            click.option("--downstream/--no-downstream", default=None, help="Only entries with, or without."),
            click.option("--hint", metavar="TEXT", help="Only entries with this hint."),
        )
    ):
        function = option(function)
    return function


def _filter(given: FilterOptions) -> entry_pb.ListEntriesRequest.Filter:
    inputs = Inputs()
    downstream, hint = given["downstream"], given["hint"]
    found = entry_pb.ListEntriesRequest.Filter(
        by_spiffe_id=_id(inputs, "--spiffe-id", given["spiffe_id"]),
        by_parent_id=_id(inputs, "--parent-id", given["parent_id"]),
        by_selectors=selector_match(inputs, given["selector"], given["match_selectors_on"]),
        by_federates_with=federates_with_match(
            inputs, given["federates_with"], given["match_federates_with_on"]
        ),
        by_hint=None if hint is None else google_protobuf.StringValue(value=hint),
        by_downstream=None if downstream is None else google_protobuf.BoolValue(value=downstream),
    )
    inputs.check()
    return found


def _id(inputs: Inputs, where: str, text: str | None) -> types.SPIFFEID | None:
    found = None if text is None else inputs.take(where, lambda: SpiffeID(text))
    return None if found is None else id_message(found)


@click.command(
    "show",
    cls=Command,
    examples="""
    finial server entry show
    finial server entry show --parent-id spiffe://example.org/node1 --selector unix:uid:1000
    finial server entry show --entry-id web --output json
    finial server entry show --entry-id web --delivery
    """,
)
@socket_option("server")
@click.option("--entry-id", metavar="ID", help="Only the entry with this id.")
@click.option("--delivery", is_flag=True, help="Show which agents have each entry, and why others do not.")
@_filter_options
@output_option
def show(
    *, socket: str, entry_id: str | None, delivery: bool, output: str, **given: Unpack[FilterOptions]
) -> None:
    """Show registration entries, all of them or those that fit every filter.

    With --delivery also how far each has come, counted from its last change: until an agent had it (applied),
    had an SVID for it (signed), and a workload was given that (delivered).
    """
    wanted = _filter(given)

    async def one(session: Session) -> entry_pb.ListEntriesResponse:
        found = await session.call(entry_pb.Entry.GetEntry, entry_pb.GetEntryRequest(id=entry_id))
        return entry_pb.ListEntriesResponse(entries=[found])

    async def all_that_fit(session: Session) -> entry_pb.ListEntriesResponse:
        whole = entry_pb.ListEntriesResponse()
        token = ""
        while True:
            request = entry_pb.ListEntriesRequest(filter=wanted, page_size=PAGE_SIZE, page_token=token)
            page = await session.call(entry_pb.Entry.ListEntries, request)
            whole.entries.extend(page.entries)
            token = page.next_page_token
            if not token:
                return whole

    async def work(session: Session) -> tuple[entry_pb.ListEntriesResponse, Deliveries | None]:
        reply = await (all_that_fit(session) if entry_id is None else one(session))
        return reply, await deliveries(session, reply) if delivery else None

    reply, found = talk("server", Path(socket), work)
    if output == JSON:
        say(to_json(reply) if found is None else to_json_with(reply, found))
        return
    say(f"Found {_number(len(reply.entries))}")
    if reply.entries:
        say("")
    if found is not None:
        print_deliveries(reply, found)
    elif reply.entries:
        print_entries(reply.entries)


def _number(count: int) -> str:
    return f"{count} {'entry' if count == 1 else 'entries'}"


@click.command(
    "count",
    cls=Command,
    examples="""
    finial server entry count
    finial server entry count --federates-with partner.example --match-federates-with-on any
    """,
)
@socket_option("server")
@_filter_options
@output_option
def count(socket: str, output: str, **given: Unpack[FilterOptions]) -> None:
    """Count registration entries, all of them or those that fit every filter."""
    wanted = entry_pb.CountEntriesRequest.Filter.FromString(_filter(given).SerializeToString())
    request = entry_pb.CountEntriesRequest(filter=wanted)
    reply = ask(Path(socket), entry_pb.Entry.CountEntries, request)
    say(to_json(reply) if output == JSON else _number(reply.count))


@click.command(
    "delete",
    cls=Command,
    examples="""
    finial server entry delete --entry-id web
    finial server entry delete --entry-id web --entry-id db
    """,
)
@socket_option("server")
@click.option(
    "--entry-id", metavar="ID", multiple=True, required=True, help="The entry to delete. May be repeated."
)
@output_option
def delete(socket: str, entry_id: tuple[str, ...], output: str) -> None:
    """Delete registration entries; their workloads lose the identity."""
    request = entry_pb.BatchDeleteEntryRequest(ids=entry_id)
    reply = ask(Path(socket), entry_pb.Entry.BatchDeleteEntry, request)
    if output == JSON:
        say(to_json(reply))
    findings: list[Finding] = []
    for wanted, result in zip(entry_id, reply.results, strict=False):
        error = error_of(result.status)
        if error is not None:
            findings.append(refused(error, f"entry {wanted}"))
        elif output != JSON:
            say(f"Deleted entry {wanted}")
    if findings:
        raise BatchError(findings)
    answered(len(reply.results), len(entry_id))
