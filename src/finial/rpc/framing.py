"""gRPC's length-prefixed messages: written whole, read from pieces, bounded before they are kept."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from finial.rpc.status import RpcError, StatusCode

_PREFIX = 5
_GZIP_WINDOW = 31  # zlib's way to say: gzip header and trailer, largest window

ACCEPTED_ENCODINGS = b"identity,gzip"


def frame(message: bytes) -> bytes:
    """One message with its prefix, uncompressed."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def inflate(data: bytes, most: int, path: bytes = b"") -> bytes:
    """The message inside one gzip member.

    Args:
        data: The compressed bytes.
        most: Longest message accepted, in bytes; inflating stops there.
        path: Of the method that sets this limit.

    Raises:
        RpcError: INTERNAL for bytes that are not gzip, RESOURCE_EXHAUSTED for a message too long.
    """
    engine = zlib.decompressobj(_GZIP_WINDOW)
    try:
        message = engine.decompress(data, most + 1)
    except zlib.error as error:
        raise RpcError(StatusCode.INTERNAL, f"a compressed message is not gzip: {error}") from error
    if len(message) > most:
        raise _too_long(f"at least {len(message)} bytes after decompression", most, path)
    if not engine.eof or engine.unused_data:
        raise RpcError(StatusCode.INTERNAL, "a compressed message is not one whole gzip member")
    return message


def _too_long(size: str, most: int, path: bytes) -> RpcError:
    """The refusal of a message longer than the limit, which is that of the method with this path, if any."""
    text = f"message of {size} exceeds the limit of {most} bytes"
    if path:
        text += f" for {path.decode()}"
    return RpcError(StatusCode.RESOURCE_EXHAUSTED, text)


@dataclass(frozen=True, slots=True)
class Packed:
    """A message as it came, compressed. It stays so until a call wants it: inflating costs the receiver.

    Args:
        data: One gzip member, if the peer is honest.
        most: Longest message accepted, in bytes.
        path: Of the method that sets this limit.
    """

    data: bytes
    most: int
    path: bytes = b""

    def __len__(self) -> int:
        return len(self.data)

    def unpack(self) -> bytes:
        """The message.

        Raises:
            RpcError: As `inflate` does.
        """
        return inflate(self.data, self.most, self.path)


Message = bytes | Packed


class MessageReader:
    """Takes body bytes as they come and gives whole messages back.

    Args:
        most: Longest message accepted, in bytes, before and after decompression.
        gzip: Whether the peer announced gzip, so that a message may be compressed.
        path: Of the method that sets this limit.
    """

    __slots__ = ("_buffer", "_gzip", "_most", "_path")

    def __init__(self, most: int, *, gzip: bool, path: bytes = b"") -> None:
        self._most = most
        self._path = path
        self._gzip = gzip
        self._buffer: bytearray | None = None

    @property
    def pending(self) -> int:
        """Bytes kept of a message that is not whole yet."""
        return len(self._buffer) if self._buffer is not None else 0

    def feed(self, data: bytes) -> Sequence[Message]:
        """The messages that these bytes complete.

        Raises:
            RpcError: RESOURCE_EXHAUSTED as soon as a prefix announces too long a message; INTERNAL for a
                compressed flag that was not announced, or an unknown flag.
        """
        if self._buffer is None:
            # Nearly always one DATA frame holds exactly one message: spare it the buffer.
            size = len(data) - _PREFIX
            if size >= 0 and size <= self._most and data[0] == 0 and int.from_bytes(data[1:5], "big") == size:
                return [data[_PREFIX:]]
            self._buffer = bytearray()
        self._buffer += data
        messages = self._split(self._buffer)
        if not self._buffer:
            self._buffer = None
        return messages

    def _split(self, buffer: bytearray) -> list[Message]:
        messages: list[Message] = []
        at = 0
        while len(buffer) - at >= _PREFIX:
            flag = buffer[at]
            size = int.from_bytes(buffer[at + 1 : at + _PREFIX], "big")
            if flag > 1:
                raise RpcError(StatusCode.INTERNAL, f"unknown message flag {flag}")
            if flag and not self._gzip:
                raise RpcError(StatusCode.INTERNAL, "compressed message without grpc-encoding")
            if size > self._most:
                raise _too_long(f"{size} bytes", self._most, self._path)
            end = at + _PREFIX + size
            if end > len(buffer):
                break
            message = bytes(memoryview(buffer)[at + _PREFIX : end])
            messages.append(Packed(message, self._most, self._path) if flag else message)
            at = end
        del buffer[:at]
        return messages
