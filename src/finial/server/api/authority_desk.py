"""Orders about the authorities of one kind, and what they wait for.

An authority is used only when every agent that is there has the bundle with it. It is taken out of the bundle
only when nothing rests on it any more: certificates are counted by the agents that hold them; tokens are with
workloads, who tell nobody, so that what they have been given has to end. An operator may insist on either all
the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Generic

from finial.core.errors import FinialError, Reason
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate
from finial.rpc.status import StatusCode
from finial.runtime.clock import Clock
from finial.runtime.log import fields
from finial.server.api.chain import Caller
from finial.server.api.replies import named as name_of
from finial.server.ca import orders
from finial.server.ca.kinds import A, KindName, named
from finial.server.ca.orders import OrderError, order_activate, order_revoke
from finial.server.ca.rotate import Rotation
from finial.server.ca.slots import Slot, Slots
from finial.server.fleet import Fleet, Laggard, Rollout
from finial.server.index.index import Index
from finial.wire.gen import google_rpc
from finial.wire.status import DOMAIN, rpc_error

_log = logging.getLogger("finial.server")

WAIT: Final = timedelta(seconds=30)
"""For how long an activation waits for the agents, and a revocation for their workloads."""
_MARGIN: Final = timedelta(seconds=1)  # of the caller's patience, so that it hears why
_BREATH: Final = timedelta(milliseconds=20)  # a thousand acknowledgements are looked at several at a time
_REST: Final = 9  # how many times as long as a look at a very large fleet takes it is then left alone
_NAMED: Final = 5
_LONGEST_NAME: Final = 120

# What SPIRE calls an internal error, though it is none.
_INTERNAL: Final = frozenset({orders.NOT_PREPARED, orders.TAINTED, orders.UNTAINTED, orders.GONE})


class Desk(Generic[A]):
    """Takes the orders about the authorities of one kind.

    Args:
        rotation: Carries them out.
        index: Has the own bundle.
        fleet: Knows who has which bundle.
        clock: Measures waits; judges ends.
    """

    def __init__(self, rotation: Rotation[A], index: Index, fleet: Fleet, *, clock: Clock) -> None:
        self._rotation = rotation
        self._index = index
        self._fleet = fleet
        self._clock = clock

    def slots(self) -> Slots[A]:
        """What is in the slots; one of them signs.

        Raises:
            OrderError: Nothing signs yet.
        """
        slots = self._rotation.slots
        if slots.active is None:
            raise OrderError(orders.INITIALIZING, "server is initializing")
        return slots

    async def prepare(self, caller: Caller) -> Slot[A]:
        """Make and publish a successor.

        Raises:
            FinialError: It is refused, or was not done.
        """
        with _spires():
            slot = await self._rotation.prepare()
        self._note("authority prepared by order", slot.authority_id, caller)
        return slot

    async def activate(self, authority_id: str, caller: Caller) -> Slot[A]:
        """Sign by the successor from now on, once every agent that is there has been told of it.

        Raises:
            FinialError: It is refused, or was not done.
        """
        with _spires():
            order_activate(self._rotation.slots, authority_id)
            if not caller.force:
                await self._told_everywhere(authority_id, caller.patience)
            slot = await self._rotation.activate(authority_id)
        self._note("authority activated by order", authority_id, caller)
        return slot

    async def taint(self, authority_id: str, caller: Caller) -> A:
        """Have everything renewed that rests on an authority that signs no more.

        Raises:
            FinialError: It is refused, or was not done.
        """
        with _spires():
            found = await self._rotation.taint(authority_id)
        self._note("authority tainted by order", authority_id, caller)
        return found

    async def revoke(self, authority_id: str, caller: Caller) -> None:
        """Trust a tainted authority no more, once nothing rests on it.

        Raises:
            FinialError: It is refused, or was not done.
        """
        rotation = self._rotation
        with _spires():
            order_revoke(rotation.slots, authority_id, kind=rotation.kind, bundle=self._index.bundle)
            if not caller.force:
                await self._left_by_everybody(authority_id, caller.patience)
            await rotation.revoke(authority_id)
        self._note("authority revoked by order", authority_id, caller)

    def has(self, authority_id: str) -> bool:
        """Whether an authority of this kind is in the own bundle."""
        return bool(self._published(authority_id))

    def unused(self, authority_id: str) -> bool:
        """Whether it is prepared, so that nothing rests on it."""
        prepared = self._rotation.slots.prepared
        return prepared is not None and prepared.authority_id == authority_id

    def last_end(self, authority_id: str) -> datetime | None:
        """When the last SVID ends that may have been signed by an authority of the own bundle; None when
        nobody can say.
        """
        latest: datetime | None = None
        for each in self._published(authority_id):
            end = self._rotation.last_end(each)
            if end is None:
                return None
            latest = end if latest is None else max(latest, end)
        return latest

    def _published(self, authority_id: str) -> Sequence[A]:
        return named(self._rotation.kind, self._index.bundle, authority_id)

    async def _told_everywhere(self, authority_id: str, patience: timedelta | None) -> None:
        """Return when all agents that are there have had the bundle with the authority for a while.

        Raises:
            OrderError: They do not in time.
        """
        deadline = self._deadline(patience)
        while True:
            version, began = self._fleet.version, self._clock.monotonic()
            rollout = self._fleet.rollout(authority_id)
            if rollout.ready:
                return
            now = self._clock.monotonic()
            left = timedelta(seconds=deadline - now)
            if left <= timedelta(0):
                message = f"{_lagging(rollout)}; {self._insist('activate')}"
                raise OrderError(orders.LAGGING, message, subject=authority_id)
            pause = left if rollout.behind else min(left, rollout.settle - rollout.settled)
            await self._fleet.changed(version, pause)
            await self._clock.sleep(max(_BREATH, timedelta(seconds=_REST * (now - began))))

    async def _left_by_everybody(self, authority_id: str, patience: timedelta | None) -> None:
        """Return when nothing has rested on a tainted authority for a while.

        Raises:
            OrderError: Something rests on it, or there is not so much time.
        """
        deadline = self._deadline(patience)
        while self.has(authority_id):
            end, now = self.last_end(authority_id), self._clock.now()
            if end is not None and end.replace(microsecond=0) <= now:
                return  # whatever it signed has ended
            if self._rotation.kind.counted:
                rest = _certificates(self._fleet.rollout(authority_id))
            else:
                rest = _tokens(self._rotation.kind.title, end, now)
            if rest is None:
                return
            if rest.left is None or rest.left > timedelta(seconds=deadline - self._clock.monotonic()):
                message = f"{rest.why}; {self._insist('revoke')}"
                raise OrderError(rest.reason, message, subject=authority_id)
            await self._clock.sleep(rest.left)

    def _deadline(self, patience: timedelta | None) -> float:
        """Until when a caller may be kept waiting, on the monotonic scale."""
        most = WAIT if patience is None else min(WAIT, patience - _MARGIN)
        return self._clock.monotonic() + most.total_seconds()

    def _insist(self, order: str) -> str:
        kind = self._rotation.kind.name
        which = "" if kind is KindName.X509 else f" --kind {kind}"
        return f"`finial server authority {order}{which} --force` does not wait for them"

    def _note(self, event: str, authority_id: str, caller: Caller) -> None:
        _log.info(
            event,
            extra=fields(
                kind=self._rotation.kind.name.value,
                authority_id=authority_id,
                by=name_of(caller),
                forced=caller.force,
            ),
        )


AnyDesk = Desk[Certificate] | Desk[TokenAuthority]


@dataclass(frozen=True, slots=True)
class Desks:
    """One for each kind that the server signs SVIDs of.

    Args:
        x509: There is always one.
        jwt: None where JWT-SVIDs are disabled.
        wit: None where WIT-SVIDs are not opted in.
    """

    x509: Desk[Certificate]
    jwt: Desk[TokenAuthority] | None = None
    wit: Desk[TokenAuthority] | None = None

    def of(self, authority_id: str) -> AnyDesk | None:
        """The one for an authority of the own bundle; None when there is none with this ID."""
        desks = (self.x509, self.jwt, self.wit)
        return next((each for each in desks if each is not None and each.has(authority_id)), None)


@dataclass(frozen=True, slots=True)
class _Rest:
    """Why an authority stays in the bundle.

    Args:
        why: For people.
        left: How long to wait, when waiting is all that there is to do.
        reason: The same for programs.
    """

    why: str
    left: timedelta | None = None
    reason: Reason = orders.RESTING


def _certificates(rollout: Rollout) -> _Rest | None:
    left = rollout.leave - rollout.left
    if rollout.resting_on:
        agents = "1 agent" if len(rollout.resting_on) == 1 else f"{len(rollout.resting_on)} agents"
        why = f"{agents} may have SVIDs that rest on this authority"
        if rollout.resting:
            why = f"{why}, {rollout.resting} as far as is known"
        return _Rest(f"{why}: {_first(rollout.resting_on)}")
    if left <= timedelta(0):
        return None
    had, wanted = rollout.left.total_seconds(), rollout.leave.total_seconds()
    return _Rest(f"workloads have had other SVIDs for {had:.1f} s, and may take {wanted:g} s", left)


def _tokens(title: str, end: datetime | None, now: datetime) -> _Rest:
    why = f"nobody can say when the last {title}-SVID ends that this authority has signed"
    if end is not None:
        why = f"{title}-SVIDs that this authority has signed may be valid until {end:%Y-%m-%d %H:%M:%S} UTC"
    return _Rest(why, None if end is None else end - now, orders.TOKENS_OUT)


def _lagging(rollout: Rollout) -> str:
    """Why an authority is not used yet, with the first agents that are waited for."""
    if not rollout.behind:
        had, wanted = rollout.settled.total_seconds(), rollout.settle.total_seconds()
        return f"the agents have had this authority for {had:.1f} s, and it is used after {wanted:g} s"
    count = f"{len(rollout.behind)} of {rollout.live} agents"
    have = "does not have" if len(rollout.behind) == 1 else "do not have"
    return f"{count} {have} this authority yet: {_first(rollout.behind)}"


def _first(laggards: Sequence[Laggard]) -> str:
    found = [f"{each.agent_id[:_LONGEST_NAME]} ({each.why})" for each in laggards[:_NAMED]]
    more = len(laggards) - len(found)
    return ", ".join([*found, f"and {more} more"] if more else found)


@contextmanager
def _spires() -> Iterator[None]:
    """Refuse orders in SPIRE's codes."""
    try:
        yield
    except OrderError as error:
        raise _told(error) from error


def _told(error: OrderError) -> FinialError:
    if error.reason not in _INTERNAL:
        return error
    info = google_rpc.ErrorInfo(reason=error.reason.id, domain=DOMAIN)
    return rpc_error(StatusCode.INTERNAL, error.message, info)
