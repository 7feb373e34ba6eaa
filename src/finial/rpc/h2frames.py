"""What h2 has to be kept from (engine_h2.py): GOAWAY frames, after which it stops, and frames too large.

h2 judges a frame's size once it has all of it, which lets a peer make it buffer 16 MiB for each connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from finial.rpc.engine import EngineError
from finial.rpc.errorcode import ErrorCode

_TYPE = 0x7
_HEADER = 9
_FIXED = 8  # bytes of a GOAWAY frame's payload before its debug data
_PREFACE = 24
_MAX_FRAME = 16_384  # the largest frame that our settings admit
_STREAM_MASK = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer accepts no streams of ours above `last_stream_id`."""

    last_stream_id: int
    error_code: int
    debug: bytes


def goaway_frame(last_stream_id: int, error_code: int, debug: bytes = b"") -> bytes:
    """The bytes of one GOAWAY frame.

    Args:
        last_stream_id: The highest stream of the peer that was or will be served.
        error_code: Why, in the terms of HTTP/2.
        debug: Why, for whoever reads the peer's log; UTF-8 text.
    """
    payload = struct.pack(">II", last_stream_id, error_code) + debug
    return struct.pack(">I", len(payload))[1:] + bytes([_TYPE, 0]) + bytes(4) + payload


class FrameFilter:
    """Splits a stream of HTTP/2 bytes into GOAWAY frames and everything else, in order and bounded.

    Args:
        preface: Whether the stream begins with the client's preface.
    """

    __slots__ = ("_buffer", "_skip")

    def __init__(self, *, preface: bool) -> None:
        self._buffer = bytearray()
        self._skip = _PREFACE if preface else 0  # bytes to pass on unread: preface or rest of a frame

    def feed(self, data: bytes) -> Iterator[bytes | GoAway]:
        """Yield runs of other frames' bytes, and GOAWAY frames; keeps back what is not decided yet.

        Raises:
            EngineError: A frame is larger than our settings admit, or a GOAWAY frame is too short.
        """
        buffer = self._buffer
        buffer += data
        start = at = 0
        while at < len(buffer):
            if self._skip:
                step = min(self._skip, len(buffer) - at)
                self._skip -= step
                at += step
                continue
            if len(buffer) - at < _HEADER:
                break
            length = int.from_bytes(buffer[at : at + 3], "big")
            if length > _MAX_FRAME:
                raise EngineError(f"frame of {length} bytes", ErrorCode.FRAME_SIZE_ERROR)
            if buffer[at + 3] != _TYPE:
                self._skip = _HEADER + length
                continue
            if length < _FIXED:
                raise EngineError(f"GOAWAY frame of {length} bytes", ErrorCode.FRAME_SIZE_ERROR)
            if len(buffer) - at < _HEADER + length:
                break
            if at > start:
                yield bytes(buffer[start:at])
            last, code = struct.unpack_from(">II", buffer, at + _HEADER)
            debug = bytes(buffer[at + _HEADER + _FIXED : at + _HEADER + length])
            at = start = at + _HEADER + length
            yield GoAway(last & _STREAM_MASK, code, debug)
        rest = bytes(buffer[start:at])
        del buffer[:at]
        if rest:
            yield rest
