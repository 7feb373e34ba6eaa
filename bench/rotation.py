"""How long it takes to replace the root by force, until every workload has an SVID of the new one.

Method: a server, an agent, and fifty workloads, each a process of its own user with an entry of its own and
an open FetchX509SVID stream. An operator prepares an authority, activates it and taints the old one, one call
after the other through LocalAuthority on the administration socket; counted is from the first call until the
last workload has got an SVID that the new authority has signed. Ours answers the activation when the agents
have acknowledged the new bundle; SPIRE's does not wait for anybody, so that workloads may be given SVIDs of a
root that their peers do not know yet. Afterwards the old authority is revoked, for the next run.

Units: seconds. The yardstick is SPIRE with its defaults. Needs root, to be many users.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from bench.run import Bench, run
from bench.sides import Side, leash
from bench.table import Row
from finial.rpc import RpcError, StatusCode
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from support.control import Control
from support.daemon import Daemon
from support.dice import Dice
from support.site import ServerDaemon

_NODE = "/node"
_FIRST_USER = 20_000
_WORKLOADS, _QUICK_WORKLOADS = 50, 5
_RUNS = 3
_PATIENCE = timedelta(minutes=2)
_SETTLE_SECONDS = 5.0  # between runs at least, and at most twice as long: a round of a poller
_RETRY_SECONDS = 0.2
_ABSENT = frozenset({StatusCode.UNIMPLEMENTED, StatusCode.PERMISSION_DENIED})


@dataclass(frozen=True)
class Rotated:
    """One run, in seconds from its beginning.

    Args:
        activated: The activation was answered.
        tainted: The tainting was.
        reissued: The last workload had its SVID.
        median: Half of them had.
    """

    activated: float
    tainted: float
    reissued: float
    median: float


class Operator:
    """Rotates a server's authorities.

    Args:
        control: Of the server.
    """

    def __init__(self, control: Control) -> None:
        self._channel = control.channel

    async def active(self) -> str:
        """The id of the authority that signs.

        Raises:
            RpcError: The server cannot be asked, or knows no such service.
        """
        request = pb.GetX509AuthorityStateRequest()
        method = pb.LocalAuthority.GetX509AuthorityState
        reply = await self._channel.unary(method, request, timeout=_PATIENCE)
        return reply.active.authority_id

    async def prepare(self) -> str:
        """Make the next authority; its id."""
        request = pb.PrepareX509AuthorityRequest()
        method = pb.LocalAuthority.PrepareX509Authority
        reply = await self._channel.unary(method, request, timeout=_PATIENCE)
        return reply.prepared_authority.authority_id

    async def activate(self, authority: str) -> None:
        """Let it sign."""
        request = pb.ActivateX509AuthorityRequest(authority_id=authority)
        await self._channel.unary(pb.LocalAuthority.ActivateX509Authority, request, timeout=_PATIENCE)

    async def taint(self, authority: str) -> None:
        """Let everything be replaced that it has signed."""
        request = pb.TaintX509AuthorityRequest(authority_id=authority)
        await self._channel.unary(pb.LocalAuthority.TaintX509Authority, request, timeout=_PATIENCE)

    async def revoke(self, authority: str) -> None:
        """Let nobody trust it any more."""
        request = pb.RevokeX509AuthorityRequest(authority_id=authority)
        await self._channel.unary(pb.LocalAuthority.RevokeX509Authority, request, timeout=_PATIENCE)


async def _reissued(herd: Daemon, count: int, authority: str, *, after: int) -> list[float]:
    """When each workload got an SVID of this authority, in order; waits for all of them."""
    found: dict[int, float] = {}
    seen = after
    while len(found) < count:
        seen = await herd.find(lambda line: authority in line, after=seen, wait=_PATIENCE.total_seconds())
        told = json.loads(herd.lines[seen - 1])
        found.setdefault(told["number"], told["at"])
    return sorted(found.values())


async def _rotate(operator: Operator, herd: Daemon, count: int) -> Rotated:
    old, mark = await operator.active(), len(herd.lines)
    began = time.perf_counter()
    new = await operator.prepare()
    await operator.activate(new)
    activated = time.perf_counter()
    await operator.taint(old)
    tainted = time.perf_counter()
    times = await _reissued(herd, count, new, after=mark)
    await _revoke(operator, old)
    return Rotated(activated - began, tainted - began, times[-1] - began, median(times) - began)


async def _revoke(operator: Operator, authority: str) -> None:
    """Revoke an authority, as soon as the server says that nothing rests on it."""
    end = time.perf_counter() + _PATIENCE.total_seconds()
    while True:
        try:
            return await operator.revoke(authority)
        except RpcError as error:
            if error.code is not StatusCode.FAILED_PRECONDITION or time.perf_counter() > end:
                raise
        await asyncio.sleep(_RETRY_SECONDS)


async def _runs(bench: Bench, side: Side, server: ServerDaemon) -> list[Rotated]:
    operator = Operator(server.control)
    try:
        authority = await operator.active()
    except RpcError as error:
        if error.code not in _ABSENT:
            raise
        bench.say(f"{side.name} has no LocalAuthority: {error.message}")
        return []
    count = _QUICK_WORKLOADS if bench.quick else _WORKLOADS
    users = range(_FIRST_USER, _FIRST_USER + count)
    control, place = server.control, bench.place()
    token, bundle = await control.token(agent=_NODE), await server.bundle_file()
    entries = (control.entry(f"/user/{user}", parent=_NODE, selectors=[f"unix:uid:{user}"]) for user in users)
    await control.create(*entries)
    command = [*leash(), sys.executable, "-m", "bench.herd", "--socket", place / "agent.sock"]
    found, dice = [], Dice(f"rotation {side.name}")
    async with (
        side.agent(place, server=server, token=token, bundle=bundle),
        Daemon("herd", [*command, f"--users={users[0]}-{users[-1]}"]) as herd,
    ):
        await _reissued(herd, count, authority, after=0)
        for number in range(1 if bench.quick else _RUNS):
            bench.say(f"rotation, run {number + 1}: {side.name}")
            await asyncio.sleep(0 if bench.quick else _SETTLE_SECONDS * (1 + dice.fraction()))
            found.append(await _rotate(operator, herd, count))
    return found


async def measure(bench: Bench) -> list[Row]:
    """All rows."""
    if os.getuid() != 0:
        return [Row("forced root rotation", "s", note="needs root, to be the users of fifty workloads")]
    found: dict[bool, list[Rotated]] = {True: [], False: []}
    for side in bench.sides:
        async with bench.server(side) as server:
            found[side.stock] = await _runs(bench, side, server)
    theirs, ours = found[True], found[False]

    count = _QUICK_WORKLOADS if bench.quick else _WORKLOADS
    note = f"medians of n = {len(theirs)} and {len(ours)}" + ("" if ours else "; ours has no LocalAuthority")

    def row(what: str, of: Callable[[Rotated], float], goal: float | None = None, *, note: str = "") -> Row:
        spire, finial = (median(map(of, runs)) if runs else None for runs in (theirs, ours))
        return Row(what, "s", spire, finial, goal, note=note)

    return [
        row(
            f"forced root rotation until {count} workloads are re-issued",
            lambda run: run.reissued,
            1.0,
            note=note,
        ),
        row("the same, until half of them are", lambda run: run.median),
        row("of that: until prepared and activated", lambda run: run.activated),
        row("of that: until tainted", lambda run: run.tainted),
    ]


if __name__ == "__main__":
    run(measure, __doc__)
