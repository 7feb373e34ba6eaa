"""One call of the push service: what the agent says in it, and what it makes of what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Final

from finial.agent import pages
from finial.agent.fetch import pages as portions
from finial.agent.link import Lease
from finial.agent.pushed import Pushed
from finial.agent.replica import PushError, Staged, refused
from finial.agent.report import Reporter
from finial.core.errors import Kind, Reason
from finial.rpc import ClientCall, RpcError
from finial.runtime.clock import Clock, wait_at_most
from finial.wire.gen import finial_api_server_push_v1 as push_pb

FIRST_ANSWER: Final = timedelta(minutes=1)
"""How long the server may take for its first message; it makes agents wait, but never so long."""
_SILENCES: Final = 2  # of those that the server announces
_SHORTEST_SILENCE: Final = timedelta(seconds=1)
_LONGEST_SILENCE: Final = timedelta(minutes=10)
_HELD_AT_ONCE: Final = 2_000
_TURN: Final = timedelta(0)

_SILENT = Reason("agent-push-silent", Kind.UNAVAILABLE)
_ENDED = Reason("agent-push-ended", Kind.UNAVAILABLE)

_Call = ClientCall[push_pb.SubscribeRequest, push_pb.SubscribeResponse]


class Subscription:
    """One call of `Push/Subscribe`. Owned by the event loop.

    Args:
        lease: The channel that it is made on; whoever makes the subscription gives it back.
        pushed: Is told what comes.
        reporter: Knows what the server is to be told.
        clock: Time.
    """

    def __init__(self, lease: Lease, pushed: Pushed, reporter: Reporter, *, clock: Clock) -> None:
        self.lease = lease
        self.answered = asyncio.Event()
        """Set when the first message has come; from then on this call counts, and none before it."""
        self.leaving = asyncio.Event()
        """Set when the server wants no more calls on this one's connection."""
        self.connection: asyncio.Future[None] | None = None
        """Done when its connection takes no more calls; None as long as there is none."""
        self._pushed = pushed
        self._reporter = reporter
        self._clock = clock
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: BaseException | None = None
        self._silence = FIRST_ANSWER
        self._deadline = 0.0
        self._look_at = 0.0  # when the deadline is looked at
        self._sooner = asyncio.Event()  # it lies before that

    async def run(self) -> None:
        """Subscribe, and take what comes until a newer call has taken over.

        Raises:
            FinialError: How the call ended otherwise.
        """
        async with self.lease.channel.call(push_pb.Push.Subscribe) as call:
            self.connection = call.leaving
            call.leaving.add_done_callback(self._drained)
            self._wait_anew()
            self._beside(call, self._watch())
            try:
                await self._converse(call)
            except RpcError as error:
                if self._fault is not None:
                    raise self._fault from error
                raise
            finally:
                call.leaving.remove_done_callback(self._drained)
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _converse(self, call: _Call) -> None:
        greeting = self._pushed.greeting()
        expected_whole = greeting is None
        await self._send(call, pages.hello(greeting))
        staged, begun = Staged(), False
        while (message := await call.receive()) is not None:
            if not self._counts(call):
                return
            self._wait_anew(message.silence_ms)
            self._pushed.heard(message.server_time_ms, message.spread_ms)
            if message.compare:
                staged, greeting, expected_whole, begun = Staged(), None, False, False
                await self._tell_held(call)
                continue
            staged.add(await pages.read_page(message, self._pushed.trust_domain, self._breathe))
            if message.more:
                continue
            if self._pushed.turn is not self:
                return
            state = pages.read_state(message)
            if not message.number and not (begun and staged.empty):
                raise refused("the server sends a change without a number")
            if expected_whole and not staged.whole:
                raise refused("the server sends an agent that holds nothing less than everything")
            if greeting is not None and staged.empty and state.says_alike(greeting):
                self._pushed.confirm(state)
            else:
                self._pushed.take(staged, state)
            staged, greeting, expected_whole, begun = Staged(), None, False, True
            if message.number:
                await self._send(call, pages.applied(message.number))
            self._reporter.look()
        raise PushError(_ENDED, "the server has ended the subscription")

    def _counts(self, call: _Call) -> bool:
        """Whether what has come here counts: with its first message a call takes over from the one before."""
        if not self.answered.is_set():
            self._pushed.begin(self)
            self._reporter.listen(on=True)
            self._beside(call, self._report(call))
            self.answered.set()
        return self._pushed.turn is self

    async def _tell_held(self, call: _Call) -> None:
        """Say everything that is held; nothing changes it meanwhile, since only this call counts."""
        entries = self._pushed.entries
        left = len(entries)
        for portion in portions(entries, _HELD_AT_ONCE):
            left -= len(portion)
            await self._send(call, pages.held(portion, more=left > 0))
            self._wait_anew()
            await self._breathe()
        if not entries:
            await self._send(call, pages.held((), more=False))

    async def _report(self, call: _Call) -> None:
        try:
            await self._reporter.run(lambda request: self._send(call, request))
        except RpcError:
            return  # whoever receives is told how the call ended

    async def _send(self, call: _Call, request: push_pb.SubscribeRequest) -> None:
        async with self._sending:
            await call.send(request)

    # Silence.

    def _wait_anew(self, silence_ms: int = 0) -> None:
        """The server is there: give it time anew.

        Args:
            silence_ms: Within how much it speaks again; 0 for as much as it said last.
        """
        if silence_ms:
            said = timedelta(milliseconds=silence_ms) * _SILENCES
            self._silence = min(max(said, _SHORTEST_SILENCE), _LONGEST_SILENCE)
        self._deadline = self._clock.monotonic() + self._silence.total_seconds()
        if self._deadline < self._look_at:
            self._sooner.set()

    async def _watch(self) -> None:
        while (left := self._deadline - self._clock.monotonic()) > 0:
            self._look_at = self._deadline
            self._sooner.clear()
            await wait_at_most(self._clock, self._sooner, timedelta(seconds=left))
        seconds = self._silence.total_seconds()
        raise PushError(_SILENT, f"the server has said nothing for {seconds:g} s")

    # Inside.

    def _drained(self, _: asyncio.Future[None]) -> None:
        self.leaving.set()

    async def _breathe(self) -> None:
        await self._clock.sleep(_TURN)

    def _beside(self, call: _Call, work: Coroutine[None, None, None]) -> None:
        """Run something beside the conversation; its failure ends the call."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (fault := task.exception()) is not None:
                self._fault = self._fault or fault
                call.cancel()

        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)
