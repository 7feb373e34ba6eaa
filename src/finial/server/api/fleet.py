"""The Fleet service: what operators ask about all agents together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, Protocol

from finial.rpc.status import RpcError, StatusCode
from finial.server.api.authority_desk import Desks
from finial.server.api.chain import Caller, Endpoint, unary
from finial.server.api.replies import invalid, unix
from finial.server.fleet import Fleet, Laggard
from finial.server.index.index import Index
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb

_NAMED: Final = 1_000  # laggards that are named in a reply; the others are counted by empty messages
_MAX_COUNT: Final = (1 << 32) - 1


class Delivered(Protocol):
    """How far an entry has come at one agent; durations are seconds from the commit."""

    @property
    def agent_id(self) -> str:
        """Which one."""

    @property
    def connected(self) -> bool:
        """Whether it is told of changes as they happen."""

    @property
    def revision(self) -> int:
        """Of the entry as the agent has it, as far as is known."""

    @property
    def applied(self) -> float | None:
        """Until it was in force; None when it has not happened or is not known."""

    @property
    def signed(self) -> float | None:
        """Until there was an SVID."""

    @property
    def delivered(self) -> float | None:
        """Until a workload had it."""

    @property
    def current(self) -> bool:
        """Whether the agent holds the entry as it is now."""

    @property
    def trouble(self) -> str:
        """What the agent says is wrong."""


class Deliveries(Protocol):
    """Follows entries to the agents."""

    def of(self, entry_id: str) -> tuple[Sequence[Delivered], int]:
        """How far an entry has come, at some agents or all of them; and how many they are."""


class FleetService:
    """Serves `finial.api.server.fleet.v1.Fleet`.

    Args:
        index: Has the entries.
        fleet: Who has which bundle.
        desks: What authorities there are.
        deliveries: Who has which entry.
    """

    def __init__(self, index: Index, fleet: Fleet, *, desks: Desks, deliveries: Deliveries) -> None:
        self._index = index
        self._fleet = fleet
        self._desks = desks
        self._deliveries = deliveries

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        return (
            unary(fleet_pb.Fleet.GetRollout, self.rollout),
            unary(fleet_pb.Fleet.GetDelivery, self.delivery),
        )

    async def rollout(
        self, request: fleet_pb.GetRolloutRequest, _caller: Caller
    ) -> fleet_pb.GetRolloutResponse:
        """How far an authority of the own bundle has come."""
        if not request.authority_id:
            raise invalid("no authority ID provided")
        desk = self._desks.of(request.authority_id)
        if desk is None:
            message = "there is no authority with this ID in the bundle"
            raise RpcError(StatusCode.NOT_FOUND, message)
        rollout = self._fleet.rollout(request.authority_id)
        unused = desk.unused(request.authority_id)
        return fleet_pb.GetRolloutResponse(
            live=rollout.live,
            behind=_laggards(rollout.behind),
            away=rollout.away,
            resting=min(rollout.resting, _MAX_COUNT),
            resting_on=_laggards(rollout.resting_on),
            polling=rollout.polling,
            settled_ms=int(rollout.settled.total_seconds() * 1_000),
            settle_ms=int(rollout.settle.total_seconds() * 1_000),
            last_end=0 if unused else unix(desk.last_end(request.authority_id)),
        )

    async def delivery(
        self, request: fleet_pb.GetDeliveryRequest, _caller: Caller
    ) -> fleet_pb.GetDeliveryResponse:
        """How far an entry has come."""
        if not request.entry_id:
            raise invalid("missing entry ID")
        if self._index.entries.get(request.entry_id) is None:
            raise RpcError(StatusCode.NOT_FOUND, "entry not found")
        found, total = self._deliveries.of(request.entry_id)
        return fleet_pb.GetDeliveryResponse(agents=map(_delivery, found), total=total)


def _laggards(found: Sequence[Laggard]) -> Iterator[fleet_pb.Laggard]:
    named = (
        fleet_pb.Laggard(agent_id=each.agent_id, svids=min(each.svids, _MAX_COUNT), why=each.why)
        for each in found[:_NAMED]
    )
    return chain(named, (fleet_pb.Laggard() for _ in found[_NAMED:]))


def _delivery(found: Delivered) -> fleet_pb.Delivery:
    return fleet_pb.Delivery(
        agent_id=found.agent_id,
        connected=found.connected,
        revision=found.revision,
        applied_ms=_ms(found.applied),
        signed_ms=_ms(found.signed),
        delivered_ms=_ms(found.delivered),
        current=found.current,
        trouble=found.trouble,
    )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000)
