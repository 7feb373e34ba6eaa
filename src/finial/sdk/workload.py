"""The client of the Workload API: a process asks who it is, and is told of every change.

async with WorkloadClient() as client:
    async for event in client.watch_x509():
        match event:
            case Updated(context): print(context.svid.id)
            case Revoked(why): print("no identity any more:", why)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

from finial.rpc import Address, Channel, ClientCall, Method, RpcError, StatusCode, Tcp, Unix
from finial.runtime.chance import Chance, SystemChance
from finial.runtime.clock import Clock, SystemClock, wait_at_most
from finial.sdk import problems
from finial.sdk.address import endpoint_address
from finial.sdk.problems import Report, WorkloadAPIError, explained, tell
from finial.sdk.response import Answer, ResponseError, X509Bundles, X509Context, read_bundles, read_svids
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
from finial.wire.gen import workload as pb

_log = logging.getLogger("finial.sdk")

# spec: EP-08
SECURITY_HEADER: Final = (("workload.spiffe.io", "true"),)
ANSWER_TIME: Final = timedelta(seconds=10)

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
    """There is nothing any more, or not yet: what came before must not be used (WAPI-35, WAPI-39).

    Args:
        why: What the agent said.
    """

    why: WorkloadAPIError


@dataclass(frozen=True, slots=True)
class _Question(Generic[Request, Reply, Value]):
    """One thing to ask for: the method, its empty request, and what its messages mean."""

    method: Method[Request, Reply]
    request: Request
    read: Callable[[Reply], Answer[Value]]


def _svids() -> _Question[pb.X509SVIDRequest, pb.X509SVIDResponse, X509Context]:
    return _Question(pb.SpiffeWorkloadAPI.FetchX509SVID, pb.X509SVIDRequest(), read_svids)


def _bundles() -> _Question[pb.X509BundlesRequest, pb.X509BundlesResponse, X509Bundles]:
    return _Question(pb.SpiffeWorkloadAPI.FetchX509Bundles, pb.X509BundlesRequest(), read_bundles)


class WorkloadClient:
    """Asks one Workload API. Use it in an `async with`; its watches share one connection.

        async with WorkloadClient("unix:///run/finial/agent.sock") as client:
            context = await client.fetch_x509_context()
            print(context.svid.id, context.svid.expires_at)

    Args:
        address: `unix:///absolute/path.sock` or `tcp://<IP address>:<port>`; None takes it from
            `SPIFFE_ENDPOINT_SOCKET`. Clauses: EP-12, EP-13
        clock: The machine's, unless a test brings its own.
        chance: The kernel's, unless a test brings its own.

    Raises:
        AddressError: There is no address, or it breaks a rule.
    """

    def __init__(
        self,
        address: str | Address | None = None,
        *,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self.address: Address = address if isinstance(address, Unix | Tcp) else endpoint_address(address)
        self._clock = clock or SystemClock()
        self._chance = chance or SystemChance()
        self._channel = Channel(self.address)
        self._closing = asyncio.Event()

    async def fetch_x509_context(self, *, wait: timedelta = ANSWER_TIME) -> X509Context:
        """This process's SVIDs and bundles, asked for once.

        Args:
            wait: For the answer, connecting included.

        Raises:
            WorkloadAPIError: Not reachable, not available, no identity: `reason` tells which, its hint the
                next step.
            ResponseError: The answer breaks rules.
        """
        return await self._once(_svids(), wait)

    async def fetch_x509_bundles(self, *, wait: timedelta = ANSWER_TIME) -> X509Bundles:
        """The bundles to verify others with, asked for once; raises as `fetch_x509_context`."""
        return await self._once(_bundles(), wait)

    def watch_x509(
        self, *, report: Report | None = None
    ) -> AsyncGenerator[Updated[X509Context] | Revoked, None]:
        """This process's SVIDs and bundles, and every change of them, over lost connections and restarts.

        Args:
            report: Told of each problem, beside the log: no connection, a message that was discarded.

        Raises:
            WorkloadAPIError: While iterating: asking again would not help.
        """
        return self._watch(_svids(), report)

    def watch_x509_bundles(
        self, *, report: Report | None = None
    ) -> AsyncGenerator[Updated[X509Bundles] | Revoked, None]:
        """The bundles to verify others with, and every change of them; otherwise as `watch_x509`."""
        return self._watch(_bundles(), report)

    async def close(self) -> None:
        """End every watch and the connection."""
        self._closing.set()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _once(self, question: _Question[Request, Reply, Value], wait: timedelta) -> Value:
        if self._closing.is_set():
            raise WorkloadAPIError(problems.CLOSED, "the client of the Workload API is closed")
        try:
            async with self._channel.call(question.method, timeout=wait, metadata=SECURITY_HEADER) as call:
                await _ask(call, question.request)
                reply = await call.receive()
        except RpcError as error:
            raise explained(error, self.address) from error
        if reply is None:
            message = f"the Workload API at {self.address} ended the stream without a message"
            raise WorkloadAPIError(problems.FAILED, message, subject=str(self.address))
        answer = question.read(reply)
        self._warn(answer, None)
        return answer.value

    async def _watch(
        self, question: _Question[Request, Reply, Value], report: Report | None
    ) -> AsyncGenerator[Updated[Value] | Revoked, None]:
        machine = StreamMachine(self._chance)
        action = machine.on(Started(), self._clock.monotonic())
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
                    action = machine.on(Ended(failure.code), self._clock.monotonic())
                    if not self._closing.is_set():
                        self._tell(action, failure, report)
                case Wait(duration, revoke):
                    if revoke:
                        yield Revoked(explained(failure, self.address))
                    await wait_at_most(self._clock, self._closing, duration)
                    action = machine.on(Woken(), self._clock.monotonic())
                case _:
                    raise explained(failure, self.address)

    async def _messages(
        self, machine: StreamMachine, question: _Question[Request, Reply, Value], report: Report | None
    ) -> AsyncGenerator[Value, None]:
        """What the good messages of one stream say, until it ends; RpcError for any end but OK."""
        async with self._channel.call(question.method, metadata=SECURITY_HEADER) as call:
            await _ask(call, question.request)
            async for reply in call:
                try:
                    answer = question.read(reply)
                except ResponseError as refused:
                    action = machine.on(Rejected(), self._clock.monotonic())
                    assert isinstance(action, Discard)
                    _log.warning("a message of the Workload API was discarded: %s", refused)
                    tell(report, refused)
                    continue
                action = machine.on(Accepted(), self._clock.monotonic())
                assert isinstance(action, Deliver)
                self._warn(answer, report)
                yield answer.value

    def _tell(self, action: Action, failure: RpcError, report: Report | None) -> None:
        problem = explained(failure, self.address)
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
