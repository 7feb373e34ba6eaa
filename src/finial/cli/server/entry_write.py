"""`finial server entry create` and `update`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, Unpack

import click

from finial.cli.commands import Command
from finial.cli.options import output_option, socket_option
from finial.cli.server.entry_input import EntryOptions, entries_given, entry_options
from finial.cli.server.entry_show import id_text, print_entries
from finial.cli.session import PAGE_SIZE, BatchError, answered, refused, talk
from finial.cli.show import JSON, note, say
from finial.core.errors import Finding, FinialError
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.jsontext import to_json
from finial.wire.statuses import error_of

_Reply = TypeVar("_Reply", entry_pb.BatchCreateEntryResponse, entry_pb.BatchUpdateEntryResponse)


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
    method, whole = entry_pb.Entry.BatchCreateEntry, entry_pb.BatchCreateEntryResponse()
    error = talk(
        "server",
        Path(socket),
        lambda session: _collect(
            whole,
            entries,
            lambda part: session.call(method, entry_pb.BatchCreateEntryRequest(entries=part)),
        ),
    )
    _finish(entries, whole, as_json=output == JSON, error=error)


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
    method, whole = entry_pb.Entry.BatchUpdateEntry, entry_pb.BatchUpdateEntryResponse()
    error = talk(
        "server",
        Path(socket),
        lambda session: _collect(
            whole,
            entries,
            lambda part: session.call(method, entry_pb.BatchUpdateEntryRequest(entries=part)),
        ),
    )
    _finish(entries, whole, as_json=output == JSON, error=error)


async def _collect(
    whole: _Reply, entries: Sequence[types.Entry], call: Callable[[Sequence[types.Entry]], Awaitable[_Reply]]
) -> FinialError | None:
    """Send entries in parts and gather the replies; what made an end of it, if anything did."""
    try:
        for part in _parts(entries):
            reply = await call(part)
            answered(len(reply.results), len(part))
            whole.MergeFrom(reply)
    except FinialError as error:
        return error
    return None


def _parts(entries: Sequence[types.Entry]) -> Iterator[Sequence[types.Entry]]:
    for at in range(0, len(entries), PAGE_SIZE):
        yield entries[at : at + PAGE_SIZE]


def _finish(
    entries: Sequence[types.Entry], whole: _Reply, *, as_json: bool, error: FinialError | None
) -> None:
    """Show what was done, then refuse what was not.

    Raises:
        BatchError: Something was refused.
        FinialError: Not everything was answered.
    """
    if as_json and (whole.results or error is None):
        say(to_json(whole))
    good, findings = [], list[Finding]()
    for entry, result in zip(entries, whole.results, strict=False):
        refusal = error_of(result.status)
        if refusal is None:
            good.append(result.entry)
            continue
        finding = refused(refusal, id_text(entry.spiffe_id))
        there = f"; its id is {result.entry.id}" if result.entry.id else ""
        findings.append(Finding(finding.reason, finding.message + there, finding.where))
    if good and not as_json:
        print_entries(good)
    if error is not None and whole.results:
        note(f"only {len(whole.results)} of {len(entries)} entries were answered, the first ones")
    if error is not None and findings:
        findings.append(Finding(error.reason, error.message))
    if findings:
        raise BatchError(findings)
    if error is not None:
        raise error
