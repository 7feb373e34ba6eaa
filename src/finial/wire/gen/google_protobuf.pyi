"""Package google.protobuf; made by tools/protos.py."""

import builtins as _b
import collections.abc as _c
import typing as _t

import google.protobuf.internal.containers as _containers
import google.protobuf.internal.enum_type_wrapper as _enums
import google.protobuf.internal.well_known_types as _well_known
import google.protobuf.message as _message

import finial.rpc.method as _method
import finial.wire.methods as _methods

class Any(_message.Message, _well_known.Any):
    type_url: _b.str
    value: _b.bytes
    def __init__(self, *, type_url: _b.str | None = ..., value: _b.bytes | None = ...) -> None: ...
    def HasField(self, field_name: _t.Never) -> _b.bool: ...
    def ClearField(self, field_name: _t.Literal["type_url", "value"]) -> None: ...
