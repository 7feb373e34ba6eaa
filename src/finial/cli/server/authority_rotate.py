"""`finial server authority rotate`: a whole rotation, which can be broken off and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from finial.cli.commands import Command
from finial.cli.inputs import only
from finial.cli.options import output_option, socket_option
from finial.cli.server import authority_calls as calls
from finial.cli.server.authority_methods import METHODS, flag, kind_option
from finial.cli.server.authority_view import SHORT, View, behind_line, names, plan, resting_line
from finial.cli.session import Session, talk
from finial.cli.show import JSON, instant, note, say
from finial.core.errors import FinialError, Kind, Reason
from finial.runtime.clock import Clock, SystemClock
from finial.runtime.config import read_duration, write_duration
from finial.server.ca import orders
from finial.server.ca.kinds import KindName
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb

_LOOK_EVERY: Final = timedelta(milliseconds=250)
_LOOK_AT_LEAST: Final = timedelta(seconds=5)  # where it is known how long it takes

_TIMEOUT = Reason(
    "authority-rotation-slow",
    Kind.UNAVAILABLE,
    hint="Run the command again to go on, evict agents that will not come back, or use --force.",
)
_TOKENS = Reason(
    "authority-rotation-tokens",
    Kind.UNAVAILABLE,
    hint="Run the command again after that, with a longer --timeout, or with --force.",
)
_BLIND = Reason(
    "authority-rotation-blind",
    Kind.UNAVAILABLE,
    hint="Use --force, and wait yourself: look at the agents before you revoke.",
)


class RotateError(FinialError):
    """A rotation does not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wishes:
    """What the options say."""

    kind: KindName
    new: bool
    force: bool
    revoke: bool
    timeout: timedelta


@dataclass(slots=True)
class _Done:
    """What has been done so far."""

    activated: str = ""
    tainted: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)


@click.command(
    "rotate",
    cls=Command,
    examples="""
    finial server authority rotate
    finial server authority rotate --no-revoke
    finial server authority rotate --kind jwt --timeout 1h
    """,
)
@socket_option("server")
@kind_option
@click.option("--new", is_flag=True, help="Make a new authority even if one is prepared already.")
@click.option(
    "--revoke/--no-revoke",
    default=True,
    help="Whether the old authority is revoked at the end.  [default: yes]",
)
@click.option("--force", is_flag=True, help="Wait for no agent, neither before nor after the activation.")
@click.option(
    "--timeout", metavar="DURATION", default="10m", show_default=True, help="For how long to wait for agents."
)
@output_option
def rotate(
    *, socket: str, kind: KindName, new: bool, revoke: bool, force: bool, timeout: str, output: str
) -> None:
    """Replace the authority that SVIDs are signed by, without breaking anything.

    Prepares another one, waits until every agent has it, activates it, taints the old one, waits until
    nothing rests on that any more, and revokes it. Of keys of tokens, until all tokens have ended that they
    have signed. It may be broken off: run again, it goes on where it was.
    """
    patience = only("--timeout", lambda: read_duration(timeout))
    wishes = _Wishes(kind=kind, new=new, force=force, revoke=revoke, timeout=patience)
    tell = note if output == JSON else say
    done = talk("server", Path(socket), lambda session: _Rotation(session, wishes, tell).run())
    if output == JSON:
        found = {"activated": done.activated, "tainted": done.tainted, "revoked": done.revoked}
        say(json.dumps(found, sort_keys=True, separators=(",", ":")))


class _Rotation:
    """One run of the command.

    Args:
        session: To the server.
        wishes: What the operator wants.
        tell: Shows a line of progress.
        clock: Measures waits.
    """

    def __init__(
        self,
        session: Session,
        wishes: _Wishes,
        tell: Callable[[str], None],
        *,
        clock: Clock | None = None,
    ) -> None:
        self._session = session
        self._wishes = wishes
        self._kind = wishes.kind
        self._tell = tell
        self._clock = clock or SystemClock()
        self._told = ""
        self._done = _Done()

    async def run(self) -> _Done:
        view = await calls.look(self._session, self._kind)
        found = plan(view, self._clock.now(), new=self._wishes.new)
        if found.resumed:
            self._tell(f"Going on: authority {_short(view.active)} signs already")
        if found.taint:
            await self._taint(found.taint)
        if not found.resumed:
            await self._succeed(found.successor)
            await self._taint((await calls.look(self._session, self._kind)).to_taint)
        await self._revoke(await calls.look(self._session, self._kind))
        return self._done

    async def _succeed(self, successor: str) -> None:
        """Have another authority sign, the prepared one if there is any."""
        if successor:
            self._tell(f"Authority {_short(successor)} is prepared already")
        else:
            reply = await calls.prepare(self._session, self._kind)
            successor = reply.prepared_authority.authority_id
            self._tell(f"Prepared authority {_short(successor)}")
        deadline = self._deadline()
        while not self._wishes.force:
            await self._spread(successor, deadline)
            try:
                await calls.activate(self._session, self._kind, successor, force=False)
            except FinialError as error:
                if error.reason is not orders.LAGGING:
                    raise
                await self._pause(deadline, error.message)  # somebody has come meanwhile
                continue
            break
        else:
            await calls.activate(self._session, self._kind, successor, force=True)
        self._done.activated = successor
        self._tell(f"Activated authority {_short(successor)}: it signs from now on")

    async def _spread(self, successor: str, deadline: float) -> None:
        """Wait until every agent that is there has the successor."""
        while True:
            rollout = await self._rollout(successor)
            self._tell_once(behind_line(rollout))
            if not rollout.behind:
                break
            await self._pause(
                deadline, f"{len(rollout.behind)} of {rollout.live} agents do not have the new authority: "
                f"{names(rollout.behind, 5)}; it is prepared, and not used yet"
            )  # fmt: skip
        if rollout.away:
            agents = "1 agent is" if rollout.away == 1 else f"{rollout.away} agents are"
            note(f"{agents} away; one that comes back without the new authority needs the bundle anew")

    async def _taint(self, old: str) -> None:
        if old:
            await calls.taint(self._session, self._kind, old)
            self._done.tainted.append(old)
            self._tell(f"Tainted authority {_short(old)}: what rests on it is renewed now")

    async def _revoke(self, view: View) -> None:
        """Revoke what is tainted, once nothing rests on it."""
        wanted = list(view.to_revoke)
        deadline = self._deadline()
        while wanted:
            if not self._wishes.force:
                await self._left(wanted, deadline)
            if not self._wishes.revoke:
                order = f"finial server authority revoke{flag(self._kind)}"
                self._tell(f"Nothing is revoked; do it with: {order}")
                return
            try:
                await self._revoke_one(wanted[0])
            except FinialError as error:
                if error.reason not in {orders.RESTING, orders.TOKENS_OUT}:
                    raise
                await self._pause(deadline, error.message)  # somebody has come meanwhile
                continue
            del wanted[0]

    async def _revoke_one(self, old: str) -> None:
        if self._counted and not self._wishes.force:
            self._tell_once("Workloads have some seconds to take what they have been sent")
        try:
            await calls.revoke(self._session, self._kind, old, force=self._wishes.force)
        except FinialError as error:
            if error.reason is not orders.AUTHORITY_ID:
                raise
            note(f"authority {_short(old)} is another server's, and is left to that")
            return
        self._done.revoked.append(old)
        self._tell(f"Revoked authority {_short(old)}: nobody is to trust it any more")

    @property
    def _counted(self) -> bool:
        return METHODS[self._kind].kind.counted

    async def _left(self, old: list[str], deadline: float) -> None:
        """Wait until nothing rests on these authorities any more."""
        if self._counted:
            await self._renewed(old, deadline)
        elif self._wishes.revoke:
            await self._ended(old, deadline)

    async def _ended(self, old: list[str], deadline: float) -> None:
        """Wait until the last token has ended that may have been signed by these keys.

        Raises:
            RotateError: That is too long; it is not waited for in vain.
        """
        while True:
            end = max([(await self._rollout(each)).last_end for each in old])
            left = end - self._clock.now().timestamp()
            if left <= 0:
                return
            title = METHODS[self._kind].kind.title
            line = f"{title}-SVIDs that the old authority has signed may be valid until {instant(end)}"
            if self._clock.monotonic() + left > deadline:
                raise RotateError(_TOKENS, f"{line}; it is tainted, and not revoked")
            self._tell_once(line)
            await self._clock.sleep(min(timedelta(seconds=left), _LOOK_AT_LEAST))

    async def _renewed(self, old: list[str], deadline: float) -> None:
        """Wait until agents report that nothing rests on these authorities any more."""
        while True:
            rollouts = [await self._rollout(each) for each in old]
            self._tell_once(resting_line(rollouts))
            resting_on = {each.agent_id: each for rollout in rollouts for each in rollout.resting_on}
            if not resting_on:
                return
            await self._pause(
                deadline, f"{len(resting_on)} agents may have SVIDs that rest on the old authority: "
                f"{names(list(resting_on.values()), 5)}; it is tainted, and not revoked"
            )  # fmt: skip

    async def _rollout(self, authority_id: str) -> fleet_pb.GetRolloutResponse:
        found = await calls.rollout(self._session, authority_id)
        if found is None:
            raise RotateError(_BLIND, "this server does not tell what its agents have")
        return found

    def _deadline(self) -> float:
        return self._clock.monotonic() + self._wishes.timeout.total_seconds()

    async def _pause(self, deadline: float, why: str) -> None:
        """Wait a moment.

        Raises:
            RotateError: The time is over.
        """
        if self._clock.monotonic() >= deadline:
            raise RotateError(_TIMEOUT, f"after {write_duration(self._wishes.timeout)}, {why}")
        await self._clock.sleep(_LOOK_EVERY)

    def _tell_once(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._tell(line)


def _short(authority_id: str) -> str:
    return authority_id[:SHORT]
