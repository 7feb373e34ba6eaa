"""`grpc.health.v1.Health`: says whether the process serves, and each of its services.

`health_routes` serves a HealthState in full. `check_route` serves Check alone, answered by any function;
with `whole_process` that is what SPIRE's server does, whose clients are answered UNIMPLEMENTED by Watch and
List and are refused the name of a service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from finial.rpc.method import Route, server_stream, unary
from finial.rpc.servercall import ServerCall
from finial.rpc.status import RpcError, StatusCode
from finial.wire.gen import grpc_health_v1 as pb

WHOLE: Final = ""
"""The name that stands for the process as a whole."""

MAX_LISTED: Final = 100
"""How many services List answers with; beyond it refuses."""

# Says whether a service serves; raises RpcError for one that it does not answer for.
Checker = Callable[[str], Awaitable[bool]]

_CheckCall = ServerCall[pb.HealthCheckRequest, pb.HealthCheckResponse]
_ListCall = ServerCall[pb.HealthListRequest, pb.HealthListResponse]


class HealthState:
    """Which services serve; the process sets it, on its event loop, and watchers are told.

    Args:
        serving: What is so at first: nothing serves yet, and only the process as a whole is known.
    """

    def __init__(self, serving: Mapping[str, bool] = MappingProxyType({WHOLE: False})) -> None:
        self._serving = dict(serving)
        self._changed = asyncio.Event()  # set, and replaced, at each change

    @property
    def serving(self) -> Mapping[str, bool]:
        """Whether each known service serves; a live view."""
        return MappingProxyType(self._serving)

    def set(self, service: str, *, serving: bool) -> None:
        """Say whether a service serves; `WHOLE` is the process."""
        if self._serving.get(service) is not serving:
            self._serving[service] = serving
            self._tell()

    def forget(self, service: str) -> None:
        """From now on this service is unknown."""
        if self._serving.pop(service, None) is not None:
            self._tell()

    def stop(self) -> None:
        """Say that nothing serves any more, before the process stops."""
        self._serving = dict.fromkeys(self._serving, False)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self) -> None:
        """Wait for the next change of anything."""
        await self._changed.wait()


def health_routes(state: HealthState) -> tuple[Route, ...]:
    """Check, Watch and List of this state."""

    async def known(service: str) -> bool:
        serves = state.serving.get(service)
        if serves is None:
            raise RpcError(StatusCode.NOT_FOUND, "unknown service")
        return serves

    async def watch(request: pb.HealthCheckRequest, call: _CheckCall) -> None:
        # Nothing is queued for a slow watcher: it is sent what is so when it has read what was.
        sent = None
        while True:
            status = _status(state.serving.get(request.service))
            if status == sent:
                await state.change()
            else:
                sent = status
                await call.send(pb.HealthCheckResponse(status=status))

    def listed(_: pb.HealthListRequest, __: _ListCall) -> pb.HealthListResponse:
        if len(state.serving) > MAX_LISTED:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, f"more than {MAX_LISTED} services: use Check")
        statuses = {name: pb.HealthCheckResponse(status=_status(is_)) for name, is_ in state.serving.items()}
        return pb.HealthListResponse(statuses=statuses)

    return check_route(known), server_stream(pb.Health.Watch, watch), unary(pb.Health.List, listed)


def check_route(checker: Checker) -> Route:
    """Check alone, as this function answers it."""

    async def check(request: pb.HealthCheckRequest, _: _CheckCall) -> pb.HealthCheckResponse:
        return pb.HealthCheckResponse(status=_status(await checker(request.service)))

    return unary(pb.Health.Check, check)


def whole_process(probe: Callable[[], Awaitable[bool]]) -> Checker:
    """A checker that answers for the process as a whole and refuses the name of any service."""

    async def checker(service: str) -> bool:
        if service != WHOLE:
            raise RpcError(StatusCode.INVALID_ARGUMENT, "per-service health is not supported")
        return await probe()

    return checker


def _status(serves: bool | None) -> pb.HealthCheckResponse.ServingStatusValue:
    if serves is None:
        return pb.HealthCheckResponse.SERVICE_UNKNOWN
    return pb.HealthCheckResponse.SERVING if serves else pb.HealthCheckResponse.NOT_SERVING
