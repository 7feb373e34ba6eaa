"""How far registration entries have come, for people: which agents have them, and why others do not yet."""

from __future__ import annotations

import json
from collections.abc import Mapping

from finial.cli.server.entry_show import entry_block
from finial.cli.session import Session
from finial.cli.show import note, say, table, yes_no
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.jsontext import to_json

_HEAD = ["AGENT", "HAS IT", "APPLIED", "SIGNED", "DELIVERED", "WHY NOT YET"]

Deliveries = Mapping[str, fleet_pb.GetDeliveryResponse]


async def deliveries(session: Session, reply: entry_pb.ListEntriesResponse) -> Deliveries:
    """How far each of some entries has come, by entry id.

    Raises:
        FinialError: Nobody answers, or a call was refused.
    """
    found = {}
    for entry in reply.entries:
        request = fleet_pb.GetDeliveryRequest(entry_id=entry.id)
        found[entry.id] = await session.call(fleet_pb.Fleet.GetDelivery, request)
    return found


def to_json_with(reply: entry_pb.ListEntriesResponse, found: Deliveries) -> str:
    """The entries as the server says them, and beside them how far each has come."""
    value = json.loads(to_json(reply))
    value["delivery"] = {entry_id: json.loads(to_json(each)) for entry_id, each in found.items()}
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def print_deliveries(reply: entry_pb.ListEntriesResponse, found: Deliveries) -> None:
    """Entries, each with a table of the agents that may serve it."""
    for at, entry in enumerate(reply.entries):
        if at:
            say("")
        say(entry_block(entry))
        delivery = found[entry.id]
        if not delivery.total:
            say("No agent may serve it: none has the parent as its ID or among its aliases")
            continue
        say("")
        table(_HEAD, [_row(each) for each in delivery.agents])
        more = delivery.total - len(delivery.agents)
        if more:
            note(f"{more} more agents may serve it and are not shown")


def _row(found: fleet_pb.Delivery) -> list[str]:
    return [
        found.agent_id,
        yes_no(found.current),
        _after(found.applied_ms) if found.HasField("applied_ms") else "-",
        _after(found.signed_ms) if found.HasField("signed_ms") else "-",
        _after(found.delivered_ms) if found.HasField("delivered_ms") else "-",
        _why_not(found) or "-",
    ]


def _why_not(found: fleet_pb.Delivery) -> str:
    """What an entry waits for at an agent; empty when it has come all the way, or that is not known."""
    if found.trouble:
        return found.trouble
    if not found.connected and not found.current:
        return "not connected: it polls, or is away"
    if not found.current:
        return "connected, but has not acknowledged it"
    if found.HasField("applied_ms") and not found.HasField("signed_ms"):
        return "its SVID is not signed yet"
    if found.HasField("signed_ms") and not found.HasField("delivered_ms"):
        return "no workload has asked for it yet"
    return ""


def _after(ms: int) -> str:
    return f"{ms} ms" if ms < 10_000 else f"{ms / 1_000:.1f} s"
