"""One stream: an agent that is told what it may serve, for as long as it may be told.

The task of the call listens. Another one speaks, for as long as there is something to say and it is not the
agent's turn: there is at most one change out that is not acknowledged. The time is looked at from outside, in
`look`: who owes an answer for too long is not waited for, whose SVID has ended is told no more.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from finial.rpc.servercall import ServerCall
from finial.rpc.status import RpcError, StatusCode
from finial.server.api.chain import Caller
from finial.server.api.replies import invalid
from finial.server.api.slices import Slices
from finial.server.push.conversation import Opening
from finial.server.push.delivery import Commit, Told
from finial.server.push.ground import Ground
from finial.server.push.held import Holdings
from finial.server.push.reports import Reports
from finial.server.push.teller import Teller
from finial.wire import push
from finial.wire.push import Applied, Held, Hello, Pace, Page, Said, State

PATIENCE: Final = 60.0
"""Seconds for an agent to take a message, and to acknowledge it."""
HELD_PATIENCE: Final = 120.0
"""Seconds for an agent to say what it holds."""
# Seconds between messages: the draw begins and ends here. They end on whole seconds, which streams share.
_QUIET, _QUIETEST = 30, 60
_UNANSWERED: Final = 9  # heartbeats, before one that is to be acknowledged
_SOON = 1.0  # seconds; what is due already is looked at again after these

Call = ServerCall[Said, bytes]


@dataclass(frozen=True, slots=True)
class _Sent:
    """A change that is out.

    Args:
        number: Of it.
        state: What the agent holds when it is in force.
        sequence: Of the own bundle then; None for none.
        commits: The recent changes that it tells of.
    """

    number: int
    state: State
    sequence: int | None
    commits: Sequence[Commit]


class Session:
    """Runs one stream. Owned by the event loop.

    Args:
        call: With the agent.
        caller: The agent, with the test that it may still be told anything.
        ground: What it stands on.
    """

    def __init__(self, call: Call, caller: Caller, ground: Ground) -> None:
        self._call = call
        self._caller = caller
        self._ground = ground
        self._clock = ground.clock
        self._agent_id = caller.agent_id.text
        self.behind_since: float | None = ground.clock.monotonic()
        self.synced = False
        self._subscription = ground.index.watch(self._agent_id, self._wake)
        self._told = Told(ground.deliveries)
        self._teller = Teller(ground.index, self._subscription, self._told)
        self._reports = Reports(ground, self._agent_id, self._subscription)
        self._tasks = asyncio.TaskGroup()
        self._speaking: asyncio.Task[None] | None = None
        self._number = 0
        self._beats = 0  # heartbeats since the last change
        self._sent: _Sent | None = None
        self._held: Holdings | None = None
        self._sequence: int | None = None  # of the own bundle that the fleet knows of
        # On the monotonic scale: until when the agent owes something, and when the next message is due.
        self._owed: float | None = None
        self._due = math.inf

    def end(self, error: RpcError) -> None:
        """End the call with this error, whatever it is doing."""
        self._call.end(error)

    async def run(self, hello: Hello) -> None:
        """Have the conversation that this begins.

        Raises:
            RpcError: Whatever ends it, unless the agent does by sending its last.
        """
        try:
            async with self._tasks:
                self._speaking = self._tasks.create_task(self._begin(hello.state))
                try:
                    with self._ground.hub.rounds.entered(self):
                        await self._listen()
                finally:
                    self._subscription.close()
                    if self._speaking is not None:
                        self._speaking.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    # Looking at the time, and being woken.

    def look(self) -> float:
        """Do what is due; when to look again, on the monotonic scale.

        Whatever comes to be due meanwhile is not due before: nothing is within so short a time. What is due
        by the clock of the wall is computed anew at each look, since that clock jumps.
        """
        now = self._clock.monotonic()
        if self._may_go_on():
            if self._owed is not None and now >= self._owed:
                self.end(RpcError(StatusCode.DEADLINE_EXCEEDED, "the agent keeps the server waiting"))
            elif now >= self._due:
                self._go_on()
        looks: list[float] = [math.floor(now) + _QUIET]
        if self._owed is not None:
            looks.append(max(self._owed, now + _SOON))
        if self._due > now:
            looks.append(self._due)
        if self._caller.expires_at is not None:
            left = (self._caller.expires_at - self._clock.now()).total_seconds()
            looks.append(now + (left if left > 0 else _SOON))
        return min(looks)

    def _wake(self) -> None:
        """Something may be to be told; or the agent's node is not what it was."""
        if self.behind_since is None:
            self.behind_since = self._clock.monotonic()
        # Not only before something is said: whoever speaks may be held up, perhaps by the agent, who may be
        # banned for that.
        if self._may_go_on():
            self._go_on()

    def _may_go_on(self) -> bool:
        """Whether the agent may still be told anything; else the call is ended."""
        try:
            self._caller.recheck()
        except RpcError as error:
            self.end(error)
            return False
        return True

    def _go_on(self) -> None:
        """Speak, unless that happens already or it is the agent's turn."""
        if self._speaking is None and self._sent is None:
            self._speaking = self._tasks.create_task(self._speak())

    # Speaking.

    async def _begin(self, held: State | None) -> None:
        await self._ground.failover.caught_up(self._agent_id, held)
        self._ground.hub.check(self._agent_id, held)
        step = self._teller.begin(held)
        if step is Opening.CURRENT:
            # It holds everything by its own word, and an acknowledgement is no more than that.
            self.synced, self.behind_since = True, None
        await self._say(step)
        await self._speak()

    async def _speak(self) -> None:
        """Say what there is to say, until there is nothing more or it is the agent's turn."""
        while self._sent is None:
            step = self._teller.news()
            if step is not None:
                await self._say(step)
                continue
            self.behind_since = None
            if self._clock.monotonic() < self._due:
                break
            await self._beat()
        # Who fails stays: there is nothing more to be said then.
        self._speaking = None

    async def _beat(self) -> None:
        """Say that nothing has changed; now and then the agent has to show that it has not stopped."""
        if self._beats == _UNANSWERED:
            await self._say(Opening.CURRENT)
            return
        self._beats += 1
        state = self._teller.still()
        self._ground.hub.unchanged(self._agent_id, state)
        await self._send(Page(state=state))

    async def _say(self, step: Opening) -> None:
        self._number += 1
        self._beats = 0
        slices = Slices(self._clock)
        if step in (Opening.WHOLE, Opening.COMPARE):
            size = self._teller.count if step is Opening.WHOLE else max(self._teller.held, self._teller.count)
            async with self._ground.turns.turn(size):
                await self._send_all(await self._difference(slices), slices)
        else:
            await self._send_all(self._teller.change(self._number, slices), slices)

    async def _difference(self, slices: Slices) -> Iterator[Page | None]:
        """What the agent is to be told in its turn; while others had theirs, much may have changed."""
        step = self._teller.begin_again()
        if step is Opening.COMPARE:
            held = await self._compare()
            marks, reset = ({}, True) if held.beyond else (held.marks, False)
            return self._teller.transfer(marks, reset=reset, number=self._number, slices=slices)
        if step is Opening.WHOLE:
            return self._teller.transfer({}, reset=True, number=self._number, slices=slices)
        return self._teller.change(self._number, slices)

    async def _compare(self) -> Holdings:
        held = self._held = Holdings(self._teller.count, self._ground.index.entries.get)
        await self._send(Page(compare=True))
        self._owed = self._clock.monotonic() + HELD_PATIENCE
        await held.complete.wait()
        self._held = self._owed = None
        return held

    async def _send_all(self, pages: Iterator[Page | None], slices: Slices) -> None:
        for page in pages:
            if page is None:
                await slices.turn()
            else:
                await self._send(page)

    async def _send(self, page: Page) -> None:
        """Send a page. It is on its way, and past recall, before anything else can happen."""
        self._caller.recheck()
        now = self._clock.monotonic()
        draw = (_QUIETEST - 1 - _QUIET) * self._ground.chance.fraction()
        self._due = math.ceil(now + _QUIET + draw)
        self._owed = now + PATIENCE
        if page.number:
            assert page.state is not None  # it is the last one of its change
            self._sent = _Sent(page.number, page.state, self._teller.sequence, self._told.take())
        data = push.encoded(page, self._pace(now))
        self._ground.hub.bytes_sent += len(data)
        await self._call.send_encoded(data)
        # Not before: an agent that acknowledges what it has not read yet still owes that it reads.
        self._owed = None if self._sent is None else self._clock.monotonic() + PATIENCE

    def _pace(self, now: float) -> Pace:
        return Pace(
            server_time_ms=int(self._clock.now().timestamp() * 1_000),
            silence_ms=round((self._due - now) * 1_000),
            spread_ms=self._ground.hub.spread_ms,
        )

    # Listening.

    async def _listen(self) -> None:
        while (said := await self._call.receive()) is not None:
            match said:
                case Applied():
                    self._applied(said.number)
                case Held():
                    await self._take_held(said)
                case Hello():
                    raise invalid("the agent says hello twice")
                case _:
                    await self._reports.take(said)

    def _applied(self, number: int) -> None:
        sent = self._sent
        if sent is None or number != sent.number:
            raise invalid(f"there is no change {number} to be acknowledged")
        self._sent = None
        if self._speaking is None:
            self._owed = None
        self.synced = True
        self._ground.hub.acknowledged(self._agent_id, sent.state)
        self._ground.deliveries.applied(self._agent_id, sent.commits)
        if sent.sequence is not None and sent.sequence != self._sequence:
            self._sequence = sent.sequence
            self._ground.fleet.has_bundle(self._agent_id, sent.sequence)
        self._go_on()

    async def _take_held(self, page: Held) -> None:
        held = self._held
        if held is None:
            raise invalid("the agent says what it holds, and has not been asked")
        held.begin(page)
        slices = Slices(self._clock)
        for entry_id, mark in page.marks:
            held.put(entry_id, mark)
            if slices.over():
                await slices.turn()
        if not page.more:
            held.complete.set()
