"""One stream: an agent that is told what it may serve, for as long as it may be told.

Three tasks share it. One speaks, and has at most one change out that is not acknowledged. One listens. One
looks at the time: who owes an answer for too long is not waited for, whose SVID has ended is told no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

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
_QUIET, _QUIETEST = 30.0, 60.0  # seconds between messages: the draw begins and ends here
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
        self._woken = asyncio.Event()
        self._attentive = False  # whether the speaking task waits to be woken
        self._number = 0
        self._sent: _Sent | None = None
        self._held: Holdings | None = None
        self._sequence: int | None = None  # of the own bundle that the fleet knows of
        # On the monotonic scale: until when the agent owes something, and when the next message is due.
        self._owed: float | None = None
        self._due = ground.clock.monotonic()

    def end(self, error: RpcError) -> None:
        """End the call with this error, whatever it is doing."""
        self._call.end(error)

    async def run(self, hello: Hello) -> None:
        """Have the conversation that this begins.

        Raises:
            RpcError: Whatever ends it, unless the agent does by sending its last.
        """
        works: list[Coroutine[Any, Any, None]] = [self._speak(hello.state), self._listen(), self._watch()]
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._subscription.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self) -> None:
        """Something may be to be told; or the agent's node is not what it was."""
        if self.behind_since is None:
            self.behind_since = self._clock.monotonic()
        self._woken.set()
        if not self._attentive:
            # The task that speaks is held up, perhaps by the agent, who may be banned for that.
            try:
                self._caller.recheck()
            except RpcError as error:
                self.end(error)

    # Speaking.

    async def _speak(self, held: State | None) -> None:
        await self._ground.failover.caught_up(self._agent_id, held)
        self._ground.hub.check(self._agent_id, held)
        step = self._teller.begin(held)
        if step is Opening.CURRENT:
            # It holds everything by its own word, and an acknowledgement is no more than that.
            self.synced, self.behind_since = True, None
        while True:
            await self._say(step)
            await self._until(lambda: self._sent is None)
            # Not before: an agent that acknowledges what it has not read yet still owes that it reads.
            self._owed = None
            step = await self._next()

    async def _say(self, step: Opening) -> None:
        self._number += 1
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
        await self._until(lambda: held.complete)
        self._held = self._owed = None
        return held

    async def _next(self) -> Opening:
        """What is to be said next, when there is something, or when it has been quiet for long enough."""
        while True:
            self._woken.clear()
            step = self._teller.news()
            if step is not None:
                return step
            self.behind_since = None
            if self._clock.monotonic() >= self._due:
                return Opening.CURRENT
            await self._stir()

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait for what the agent has to do; another task sees to it that this ends."""
        while not true():
            self._woken.clear()
            await self._stir()

    async def _stir(self) -> None:
        self._attentive = True
        try:
            await self._woken.wait()
        finally:
            self._attentive = False
        self._caller.recheck()

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
        self._due = now + _QUIET + (_QUIETEST - _QUIET) * self._ground.chance.fraction()
        self._owed = now + (HELD_PATIENCE if page.compare else PATIENCE)
        if page.state is not None:
            self._sent = _Sent(page.number, page.state, self._teller.sequence, self._told.take())
        data = push.encoded(page, self._pace(now))
        self._ground.hub.bytes_sent += len(data)
        await self._call.send_encoded(data)
        if self._sent is not None:
            self._owed = self._clock.monotonic() + PATIENCE

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
        self.synced = True
        self._ground.hub.acknowledged(self._agent_id, sent.state)
        self._ground.deliveries.applied(self._agent_id, sent.commits)
        if sent.sequence is not None and sent.sequence != self._sequence:
            self._sequence = sent.sequence
            self._ground.fleet.has_bundle(self._agent_id, sent.sequence)
        self._woken.set()

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
            held.complete = True
            self._woken.set()

    # Looking at the time.

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(timedelta(seconds=self._to_next_look()))
            self._caller.recheck()
            now = self._clock.monotonic()
            if self._owed is not None and now >= self._owed:
                message = "the agent keeps the server waiting"
                raise RpcError(StatusCode.DEADLINE_EXCEEDED, message)
            if now >= self._due:
                self._woken.set()

    def _to_next_look(self) -> float:
        """Seconds. Whatever comes to be due meanwhile is not due before: nothing is within so short a time.

        What is due by the clock of the wall is computed anew at each look, since that clock jumps.
        """
        now = self._clock.monotonic()
        waits = [_QUIET]
        if self._owed is not None:
            waits.append(self._owed - now)
        if self._due > now:
            waits.append(self._due - now)
        if self._caller.expires_at is not None:
            left = (self._caller.expires_at - self._clock.now()).total_seconds()
            waits.append(left if left > 0 else _SOON)
        return max(min(waits), 0.0)
