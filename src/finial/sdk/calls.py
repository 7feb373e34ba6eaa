"""Asking the Workload API one question: once, or for as long as the answer may change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, TypeVar

from finial.rpc import Address, Channel, ClientCall, Method, RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.runtime.clock import Clock, wait_at_most
from finial.sdk import problems
from finial.sdk.problems import Report, WorkloadAPIError, explained, tell
from finial.sdk.response import Answer, ResponseError
from finial.sdk.stream import (
    Accepted,
    Action,
    Deliver,
    Dial,
    Discard,
    Ended,
    Fail,
    Rejected,
    Started,
    StreamMachine,
    Wait,
    Woken,
)

_log = logging.getLogger("finial.sdk")

# spec: EP-08
SECURITY_HEADER: Final = (("workload.spiffe.io", "true"),)

Value = TypeVar("Value")
Request = TypeVar("Request")
Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True)
class Updated(Generic[Value]):
    """There is something new; it replaces all that came before (WAPI-15..WAPI-17).

    Args:
        value: All that is so now.
    """

    value: Value


@dataclass(frozen=True, slots=True)
class Revoked:
    """There is nothing any more, or not yet: what came before must not be used.

    Clauses: WAPI-35, WAPI-39, WAPI-62, WAPI-80, WAPI-81.

    Args:
        why: What the agent said.
    """

    why: WorkloadAPIError


@dataclass(frozen=True, slots=True)
class Question(Generic[Request, Reply, Value]):
    """One thing to ask for.

    Args:
        method: Of the Workload API.
        request: Sent once for each call.
        read: What a reply means; raises ResponseError when it breaks rules.
        explain: What a failed call means.
    """

    method: Method[Request, Reply]
    request: Request
    read: Callable[[Reply], Answer[Value]]
    explain: Callable[[RpcError, Address], WorkloadAPIError] = explained


class Calls:
    """Asks questions, all over one connection.

    Args:
        address: Of the Workload API.
        clock: The machine's, or a test's.
        chance: Spreads the waits of many clients.
    """

    def __init__(self, address: Address, *, clock: Clock, chance: Chance) -> None:
        self.address = address
        self.clock = clock
        self._chance = chance
        self._channel = Channel(address)
        self._closing = asyncio.Event()

    async def once(self, question: Question[Request, Reply, Value], wait: timedelta) -> Value:
        """The answer, asked for once.

        Args:
            question: What to ask.
            wait: For the answer, connecting included.

        Raises:
            WorkloadAPIError: There is none.
            ResponseError: It breaks rules.
        """
        if self._closing.is_set():
            raise WorkloadAPIError(problems.CLOSED, "the client of the Workload API is closed")
        try:
            reply = await self._reply(question, wait)
        except RpcError as error:
            raise question.explain(error, self.address) from error
        if reply is None:
            message = f"the Workload API at {self.address} ended the stream without a message"
            raise WorkloadAPIError(problems.FAILED, message, subject=str(self.address))
        answer = question.read(reply)
        self._warn(answer, None)
        return answer.value

    async def watch(
        self, question: Question[Request, Reply, Value], report: Report | None
    ) -> AsyncGenerator[Updated[Value] | Revoked, None]:
        """The answer, and every change of it, over lost connections and restarts.

        Args:
            question: What to ask; its method answers with a stream.
            report: Told of each problem, beside the log.

        Raises:
            WorkloadAPIError: Asking again would not help.
        """
        machine = StreamMachine(self._chance)
        action = machine.on(Started(), self.clock.monotonic())
        failure = RpcError(StatusCode.CANCELLED, "the stream has not begun")
        while not self._closing.is_set():
            match action:
                case Dial():
                    try:
                        stream = self._messages(machine, question, report)
                        async with aclosing(stream):
                            async for value in stream:
                                yield Updated(value)
                        failure = RpcError(StatusCode.UNAVAILABLE, "the server ended the stream")
                    except RpcError as error:
                        failure = error
                    action = machine.on(Ended(failure.code), self.clock.monotonic())
                    if not self._closing.is_set():
                        self._tell(action, question.explain(failure, self.address), report)
                case Wait(duration, revoke):
                    if revoke:
                        yield Revoked(question.explain(failure, self.address))
                    await wait_at_most(self.clock, self._closing, duration)
                    action = machine.on(Woken(), self.clock.monotonic())
                case _:
                    raise question.explain(failure, self.address)

    async def close(self) -> None:
        """End every watch and the connection."""
        self._closing.set()
        await self._channel.close()

    async def _reply(self, question: Question[Request, Reply, Value], wait: timedelta) -> Reply | None:
        if question.method.kind.one_reply:
            return await self._channel.unary(
                question.method, question.request, timeout=wait, metadata=SECURITY_HEADER
            )
        async with self._channel.call(question.method, timeout=wait, metadata=SECURITY_HEADER) as call:
            await _ask(call, question.request)
            return await call.receive()

    async def _messages(
        self, machine: StreamMachine, question: Question[Request, Reply, Value], report: Report | None
    ) -> AsyncGenerator[Value, None]:
        """What the good messages of one stream say, until it ends; RpcError for any end but OK."""
        async with self._channel.call(question.method, metadata=SECURITY_HEADER) as call:
            await _ask(call, question.request)
            async for reply in call:
                try:
                    answer = question.read(reply)
                except ResponseError as refused:
                    action = machine.on(Rejected(), self.clock.monotonic())
                    assert isinstance(action, Discard)
                    _log.warning("a message of the Workload API was discarded: %s", refused)
                    tell(report, refused)
                    continue
                action = machine.on(Accepted(), self.clock.monotonic())
                assert isinstance(action, Deliver)
                self._warn(answer, report)
                yield answer.value

    def _tell(self, action: Action, problem: WorkloadAPIError, report: Report | None) -> None:
        match action:
            case Wait(duration):
                _log.warning("%s; asking again in %.1f s", problem, duration.total_seconds())
            case Fail():
                _log.error("%s; not asking again. %s", problem, problem.reason.hint)
            case _:
                _log.info("%s; asking again", problem)
        tell(report, problem)

    def _warn(self, answer: Answer[Value], report: Report | None) -> None:
        if answer.passed_over:
            partly = ResponseError(answer.passed_over)
            _log.warning("a part of a message of the Workload API was passed over: %s", partly)
            tell(report, partly)


async def _ask(call: ClientCall[Request, Reply], request: Request) -> None:
    await call.send(request)
    await call.half_close()
