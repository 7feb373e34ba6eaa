"""`finial server entry create` and `update`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Unpack

import click

from finial.cli.commands import Command
from finial.cli.options import output_option, socket_option
from finial.cli.server.entry_input import EntryOptions, entries_given, entry_options
from finial.cli.server.entry_show import id_text, print_entries
from finial.cli.session import PAGE_SIZE, BatchError, Session, refused, talk
from finial.cli.show import JSON, say
from finial.core.errors import Finding
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.jsontext import to_json
from finial.wire.statuses import error_of

_Result = entry_pb.BatchCreateEntryResponse.Result | entry_pb.BatchUpdateEntryResponse.Result


@click.command(
    "create",
    cls=Command,
    examples="""
    finial server entry create --parent-id spiffe://example.org/node1 \\
        --spiffe-id spiffe://example.org/web --selector unix:uid:1000
    finial server entry create --data entries.json
    """,
)
@socket_option("server")
@entry_options
@output_option
def create(socket: str, data: str | None, output: str, **given: Unpack[EntryOptions]) -> None:
    """Register a workload: whatever has all the selectors, under the parent, is the SPIFFE ID."""
    entries = entries_given(data, given, update=False)

    async def work(session: Session) -> entry_pb.BatchCreateEntryResponse:
        whole = entry_pb.BatchCreateEntryResponse()
        for part in _parts(entries):
            request = entry_pb.BatchCreateEntryRequest(entries=part)
            whole.MergeFrom(await session.call(entry_pb.Entry.BatchCreateEntry, request))
        return whole

    reply = talk("server", Path(socket), work)
    if output == JSON:
        say(to_json(reply))
    _finish(entries, reply.results, shown=output != JSON)


@click.command(
    "update",
    cls=Command,
    examples="""
    finial server entry update --entry-id web --parent-id spiffe://example.org/node1 \\
        --spiffe-id spiffe://example.org/web --selector unix:uid:1001
    finial server entry update --data entries.json
    """,
)
@socket_option("server")
@entry_options
@output_option
def update(socket: str, data: str | None, output: str, **given: Unpack[EntryOptions]) -> None:
    """Replace an entry: what is not given again is gone from it."""
    entries = entries_given(data, given, update=True)

    async def work(session: Session) -> entry_pb.BatchUpdateEntryResponse:
        whole = entry_pb.BatchUpdateEntryResponse()
        for part in _parts(entries):
            request = entry_pb.BatchUpdateEntryRequest(entries=part)
            whole.MergeFrom(await session.call(entry_pb.Entry.BatchUpdateEntry, request))
        return whole

    reply = talk("server", Path(socket), work)
    if output == JSON:
        say(to_json(reply))
    _finish(entries, reply.results, shown=output != JSON)


def _parts(entries: Sequence[types.Entry]) -> Iterator[Sequence[types.Entry]]:
    for at in range(0, len(entries), PAGE_SIZE):
        yield entries[at : at + PAGE_SIZE]


def _finish(entries: Sequence[types.Entry], results: Sequence[_Result], *, shown: bool) -> None:
    """Show what was done, then refuse what was not.

    Raises:
        BatchError: Something was not.
    """
    good, findings = [], list[Finding]()
    for entry, result in zip(entries, results, strict=False):
        error = error_of(result.status)
        if error is None:
            good.append(result.entry)
            continue
        finding = refused(error, id_text(entry.spiffe_id))
        there = f"; its id is {result.entry.id}" if result.entry.id else ""
        findings.append(Finding(finding.reason, finding.message + there, finding.where))
    if good and shown:
        print_entries(good)
    if findings:
        raise BatchError(findings)
