"""Package finial.api.server.fleet.v1; made by tools/protos.py."""

import builtins as _b
import collections.abc as _c
import typing as _t

import google.protobuf.internal.containers as _containers
import google.protobuf.internal.enum_type_wrapper as _enums
import google.protobuf.internal.well_known_types as _well_known
import google.protobuf.message as _message

import finial.rpc.method as _method
import finial.wire.methods as _methods

class GetRolloutRequest(_message.Message):
    authority_id: _b.str
    def __init__(self, *, authority_id: _b.str | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["authority_id"]) -> None: ...

class GetRolloutResponse(_message.Message):
    live: _b.int
    @_b.property
    def behind(self) -> _containers.RepeatedCompositeFieldContainer[Laggard]: ...
    away: _b.int
    resting: _b.int
    @_b.property
    def resting_on(self) -> _containers.RepeatedCompositeFieldContainer[Laggard]: ...
    polling: _b.int
    settled_ms: _b.int
    settle_ms: _b.int
    last_end: _b.int
    def __init__(self, *, live: _b.int | None = ..., behind: _c.Iterable[Laggard] | None = ..., away: _b.int | None = ..., resting: _b.int | None = ..., resting_on: _c.Iterable[Laggard] | None = ..., polling: _b.int | None = ..., settled_ms: _b.int | None = ..., settle_ms: _b.int | None = ..., last_end: _b.int | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["live", "behind", "away", "resting", "resting_on", "polling", "settled_ms", "settle_ms", "last_end"]) -> None: ...

class Laggard(_message.Message):
    agent_id: _b.str
    svids: _b.int
    why: _b.str
    def __init__(self, *, agent_id: _b.str | None = ..., svids: _b.int | None = ..., why: _b.str | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["agent_id", "svids", "why"]) -> None: ...

class GetDeliveryRequest(_message.Message):
    entry_id: _b.str
    def __init__(self, *, entry_id: _b.str | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["entry_id"]) -> None: ...

class GetDeliveryResponse(_message.Message):
    @_b.property
    def agents(self) -> _containers.RepeatedCompositeFieldContainer[Delivery]: ...
    total: _b.int
    def __init__(self, *, agents: _c.Iterable[Delivery] | None = ..., total: _b.int | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["agents", "total"]) -> None: ...

class Delivery(_message.Message):
    agent_id: _b.str
    connected: _b.bool
    revision: _b.int
    applied_ms: _b.int
    signed_ms: _b.int
    delivered_ms: _b.int
    current: _b.bool
    trouble: _b.str
    def __init__(self, *, agent_id: _b.str | None = ..., connected: _b.bool | None = ..., revision: _b.int | None = ..., applied_ms: _b.int | None = ..., signed_ms: _b.int | None = ..., delivered_ms: _b.int | None = ..., current: _b.bool | None = ..., trouble: _b.str | None = ...) -> None: ...
    def HasField(self, field_name: _t.Literal["applied_ms", "signed_ms", "delivered_ms"]) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["agent_id", "connected", "revision", "applied_ms", "signed_ms", "delivered_ms", "current", "trouble"]) -> None: ...

class _Fleet(_methods.Service):
    GetRollout: _method.Method[GetRolloutRequest, GetRolloutResponse]
    GetDelivery: _method.Method[GetDeliveryRequest, GetDeliveryResponse]
Fleet: _t.Final[_Fleet]
