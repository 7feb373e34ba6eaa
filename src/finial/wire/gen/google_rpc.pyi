"""Package google.rpc; made by tools/protos.py."""

import builtins as _b
import collections.abc as _c
import typing as _t

import google.protobuf.internal.containers as _containers
import google.protobuf.internal.enum_type_wrapper as _enums
import google.protobuf.internal.well_known_types as _well_known
import google.protobuf.message as _message

import finial.rpc.method as _method
import finial.wire.methods as _methods
from finial.wire.gen import google_protobuf as _pb_google_protobuf

class ErrorInfo(_message.Message):
    reason: _b.str
    domain: _b.str
    @_b.property
    def metadata(self) -> _containers.ScalarMap[_b.str, _b.str]: ...
    def __init__(self, *, reason: _b.str | None = ..., domain: _b.str | None = ..., metadata: _c.Mapping[_b.str, _b.str] | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["reason", "domain", "metadata"]) -> None: ...

class Status(_message.Message):
    code: _b.int
    message: _b.str
    @_b.property
    def details(self) -> _containers.RepeatedCompositeFieldContainer[_pb_google_protobuf.Any]: ...
    def __init__(self, *, code: _b.int | None = ..., message: _b.str | None = ..., details: _c.Iterable[_pb_google_protobuf.Any] | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["code", "message", "details"]) -> None: ...
