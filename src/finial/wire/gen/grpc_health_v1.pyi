"""Package grpc.health.v1; made by tools/protos.py."""

import builtins as _b
import collections.abc as _c
import typing as _t

import google.protobuf.internal.containers as _containers
import google.protobuf.internal.enum_type_wrapper as _enums
import google.protobuf.internal.well_known_types as _well_known
import google.protobuf.message as _message

import finial.rpc.method as _method
import finial.wire.methods as _methods

class HealthCheckRequest(_message.Message):
    service: _b.str
    def __init__(self, *, service: _b.str | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["service"]) -> None: ...

class HealthCheckResponse(_message.Message):
    ServingStatusValue = _t.NewType("ServingStatusValue", _b.int)
    class _ServingStatus(_enums._EnumTypeWrapper[HealthCheckResponse.ServingStatusValue]):
        UNKNOWN: _t.Final[HealthCheckResponse.ServingStatusValue]
        SERVING: _t.Final[HealthCheckResponse.ServingStatusValue]
        NOT_SERVING: _t.Final[HealthCheckResponse.ServingStatusValue]
        SERVICE_UNKNOWN: _t.Final[HealthCheckResponse.ServingStatusValue]
    ServingStatus: _t.Final[_ServingStatus]
    UNKNOWN: _t.ClassVar[HealthCheckResponse.ServingStatusValue]
    SERVING: _t.ClassVar[HealthCheckResponse.ServingStatusValue]
    NOT_SERVING: _t.ClassVar[HealthCheckResponse.ServingStatusValue]
    SERVICE_UNKNOWN: _t.ClassVar[HealthCheckResponse.ServingStatusValue]
    status: HealthCheckResponse.ServingStatusValue
    def __init__(self, *, status: HealthCheckResponse.ServingStatusValue | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["status"]) -> None: ...

class HealthListRequest(_message.Message):
    def __init__(self) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Never) -> None: ...

class HealthListResponse(_message.Message):
    @_b.property
    def statuses(self) -> _containers.MessageMap[_b.str, HealthCheckResponse]: ...
    def __init__(self, *, statuses: _c.Mapping[_b.str, HealthCheckResponse] | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["statuses"]) -> None: ...

class _Health(_methods.Service):
    Check: _method.Method[HealthCheckRequest, HealthCheckResponse]
    List: _method.Method[HealthListRequest, HealthListResponse]
    Watch: _method.Method[HealthCheckRequest, HealthCheckResponse]
Health: _t.Final[_Health]
