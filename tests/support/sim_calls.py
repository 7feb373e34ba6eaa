"""Calls over a simulated network, with the surface of the real ones: each message is bytes on the way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from finial.core.errors import FinialError
from finial.rpc import Route, RpcError, StatusCode
from finial.rpc.method import Method
from finial.rpc.peer import Peer
from finial.wire.status import error_from
from support.sim_net import Connection


class Inbox:
    """What has arrived at one end of a call, and how the call ended."""

    def __init__(self) -> None:
        self.failure: RpcError | None = None
        self.ended = False  # the peer has sent its last, in good order
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, data: bytes) -> None:
        self._messages.append(data)
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> bytes | None:
        while True:
            if self._messages:
                return self._messages.popleft()
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return None
            assert self._waiter is None, "two tasks receive from one call"
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


class SimClientCall:
    """A call at the agent."""

    def __init__(self, connection: Connection, method: Method[Any, Any]) -> None:
        self.connection = connection
        self.method = method
        self.number = connection.net.number()
        self.initial_metadata: Any = None
        self.trailing_metadata: Any = None
        self.leaving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done = False
        self.half_closed = False
        self._inbox = Inbox()
        self._far: SimServerCall | None = None
        connection.at_client.append(self)
        connection.on_drain.append(self._leave)
        if connection.draining:
            self._leave()
        connection.up.post(self._arrive)

    def _arrive(self) -> None:
        self._far = SimServerCall(self.connection, self)
        self._far.begin(self.method.path)

    def _post(self, act: Callable[[SimServerCall], None]) -> None:
        def deliver() -> None:
            if self._far is not None:
                act(self._far)

        self.connection.up.post(deliver)

    # What callers use.

    async def send(self, request: Any) -> None:
        self._check_live()
        data = self.method.encode_request(request)
        self.connection.net.watching.agent_sends(self, data)
        self._post(lambda far: far.arrived(data))
        await asyncio.sleep(0)  # noqa: TID251 - as a real one, it may let others run

    async def half_close(self) -> None:
        if not self.half_closed:
            self.half_closed = True
            self._post(lambda far: far.client_ended())

    async def receive(self) -> Any:
        data = await self._inbox.next()
        if data is None:
            return None
        self._post(lambda far: far.credit(len(data)))
        try:
            reply = self.method.decode_reply(data)
        except ValueError as error:
            self.cancel()
            raise RpcError(StatusCode.INTERNAL, f"the reply is malformed: {error}") from error
        self.connection.net.watching.agent_hears(self, data)
        return reply

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (reply := await self.receive()) is not None:
            yield reply

    def cancel(self) -> None:
        if self._conclude(RpcError(StatusCode.CANCELLED, "the call was cancelled here")):
            self._post(lambda far: far.reset())

    def over_time(self) -> None:
        """Its deadline has passed."""
        if self._conclude(RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline passed")):
            self._post(lambda far: far.reset())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.cancel()

    # What happens to it.

    def arrived(self, data: bytes) -> None:
        if not self.done:
            self.initial_metadata = ()
            self._inbox.put(data)

    def answered(self, status: RpcError | None) -> None:
        """The status has arrived."""
        self.trailing_metadata = ()
        self._conclude(status)

    def lost(self) -> None:
        self._conclude(
            RpcError(StatusCode.UNAVAILABLE, "connection lost", unprocessed=self._far is None)
            if self.initial_metadata is None
            else RpcError(StatusCode.UNAVAILABLE, "connection lost")
        )

    def _check_live(self) -> None:
        if self.done or self.half_closed:
            raise self._inbox.failure or RpcError(StatusCode.CANCELLED, "the call has ended")

    def _leave(self) -> None:
        if not self.leaving.done():
            self.leaving.set_result(None)

    def _conclude(self, error: RpcError | None) -> bool:
        if self.done:
            return False
        self.done = True
        self._inbox.failure, self._inbox.ended = error, error is None
        self._inbox.wake()
        self.connection.at_client.remove(self)
        self.connection.on_drain.remove(self._leave)
        self.connection.call_ended()
        return True


class SimServerCall:
    """The same call at the server."""

    def __init__(self, connection: Connection, near: SimClientCall) -> None:
        self.connection = connection
        self.number = near.number
        self.finished = False
        self.deadline: float | None = None
        self.metadata: tuple[Any, ...] = ()
        self.initial_metadata: list[Any] = []
        self.trailing_metadata: list[Any] = []
        self.failure: RpcError | None = None
        self.method: Method[Any, Any] = near.method
        self._near = near
        self._inbox = Inbox()
        self._unread = 0
        self._room: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._route: Route | None = None

    @property
    def peer(self) -> Peer:
        return self.connection.peer

    def begin(self, path: str) -> None:
        """Find who serves it, and let it run."""
        if self.connection.server_gone:
            return
        self.connection.at_server.append(self)
        route = self._route = self.connection.host.route(path)
        if route is None:
            self.finish(RpcError(StatusCode.UNIMPLEMENTED, f"unknown method {path}"))
            return
        self.method = route.method
        if not self.method.kind.one_request:
            self._start()

    # What handlers use.

    def request(self) -> Any:
        data = self._only
        return self._decode(data)

    async def receive(self) -> Any:
        data = await self._inbox.next()
        if data is None:
            return None
        self.connection.net.watching.server_hears(self, data)
        return self._decode(data)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (request := await self.receive()) is not None:
            yield request

    async def send(self, reply: Any) -> None:
        await self.send_encoded(self.method.encode_reply(reply))

    async def send_encoded(self, data: bytes) -> None:
        if self.finished:
            raise self.failure or RpcError(StatusCode.CANCELLED, "the call has ended")
        self.connection.net.watching.server_sends(self, data)
        near = self._near
        self.connection.down.post(lambda: near.arrived(data))
        self._unread += len(data)
        while self._unread > self.connection.net.window and not self.finished:
            assert self._room is None, "two tasks send on one call"
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None
        if self.failure is not None:
            raise self.failure

    def end(self, error: RpcError) -> None:
        """Answer with this error instead of whatever the handler was about to."""
        if not self.finished:
            self.failure = error
        self.finish(error)
        self._cancel()

    def cancel(self) -> None:
        self._cancel()

    def finish(self, error: RpcError | None) -> None:
        if self.finished:
            return
        self.finished = True
        near = self._near
        self.connection.down.post(lambda: near.answered(error))
        self._leave()

    # What happens to it.

    def arrived(self, data: bytes) -> None:
        if self.finished:
            return
        if self._route is not None and self.method.kind.one_request:
            self._only = data
            self._start()
        else:
            self._inbox.put(data)

    def client_ended(self) -> None:
        self._inbox.ended = True
        self._inbox.wake()

    def credit(self, size: int) -> None:
        """The agent has read so much."""
        self._unread -= size
        self._wake_sender()

    def reset(self) -> None:
        """The agent gave the call up."""
        self._abandon(RpcError(StatusCode.CANCELLED, "the caller cancelled the call"))

    def lost(self) -> None:
        self._abandon(RpcError(StatusCode.UNAVAILABLE, "connection lost"))

    def _abandon(self, error: RpcError) -> None:
        if not self.finished:
            self.finished = True
            self.failure = error
            self._leave()
        self._cancel()

    # Inside.

    def _decode(self, data: bytes) -> Any:
        try:
            return self.method.decode_request(data)
        except ValueError as error:
            raise RpcError(StatusCode.INTERNAL, f"the request is malformed: {error}") from error

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        assert self._route is not None
        route = self._route
        try:
            if route.guarded or not self.method.kind.one_request:
                result = await route.handler(self)
            else:
                result = route.handler(self.request(), self)
                result = await result if asyncio.iscoroutine(result) else result
            if self.method.kind.one_reply and not self.finished:
                data = self.method.encode_reply(result)
                near = self._near
                self.connection.down.post(lambda: near.arrived(data))
            self.finish(None)
        except asyncio.CancelledError:
            self.finish(RpcError(StatusCode.UNAVAILABLE, "the server is stopping"))
        except FinialError as error:
            self.finish(error if isinstance(error, RpcError) else error_from(error))
        except Exception as error:  # noqa: BLE001 - kept for the test
            self.connection.host.broke(error, self.method.path)
            self.finish(RpcError(StatusCode.INTERNAL, "internal error"))

    def _cancel(self) -> None:
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            self._task.cancel()

    def _leave(self) -> None:
        self._wake_sender()
        if self in self.connection.at_server:
            self.connection.at_server.remove(self)
        if self.failure is not None:
            self._inbox.failure = self.failure
            self._inbox.wake()

    def _wake_sender(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
