"""Lets in clients whose `:authority` is the path of our socket.

gRPC has no rule for the authority of a Unix socket. Most clients say `localhost`; grpc-java, and with it
java-spiffe, says the path, and a slash is nothing that an authority may hold: libnghttp2 resets every stream
of such a client before anybody is asked. We never look at the authority. So slashes in it become dots before
that library sees them; a dot is as long as a slash in both ways to write a text in HPACK, so nothing else
changes.

A client names the same authority in each request. If the first one needs no change, none is looked at.
"""

from __future__ import annotations

from hpack.exceptions import HPACKError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman

_PREFACE = 24
_HEAD = 9
_MAX_FRAME = 16_384  # the largest frame that our settings admit; the engine refuses larger ones
_HEADERS = 0x1
_PADDED, _PRIORITY = 0x8, 0x20
_PRIORITY_BYTES = 5
_AUTHORITY = 1  # its place in HPACK's static table
_HUFFMAN = 0x80
_MOST_SHIFT = 21  # no text of a frame is as long as a number with more bytes says
_HUFFMAN_ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


class AuthorityFilter:
    """Changes what a client sends, as far as it has to be.

    Attributes:
        done: Whether nothing will be changed any more, so that it can be left out.
    """

    __slots__ = ("_buffer", "_skip", "done")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skip = _PREFACE  # bytes to pass on unread: the preface, or the rest of a frame
        self.done = False

    def feed(self, data: bytes) -> bytes:
        """What the engine is to be given; keeps back a frame of headers until all of it is there.

        Args:
            data: What came, cut anywhere.
        """
        buffer = self._buffer
        buffer += data
        at = 0
        while not self.done:
            if self._skip:
                step = min(self._skip, len(buffer) - at)
                self._skip -= step
                at += step
            if self._skip or len(buffer) - at < _HEAD:
                break
            length, kind, flags = int.from_bytes(buffer[at : at + 3], "big"), buffer[at + 3], buffer[at + 4]
            if kind != _HEADERS or length > _MAX_FRAME:
                self._skip = _HEAD + length
                continue
            end = at + _HEAD + length
            if len(buffer) < end:
                break
            block = bytes(buffer[at + _HEAD : end])
            changed = changed_block(block, flags)
            buffer[at + _HEAD : end] = changed
            self.done = changed == block
            at = end
        passed = len(buffer) if self.done else at
        out = bytes(buffer[:passed])
        del buffer[:passed]
        return out


def changed_block(block: bytes, flags: int) -> bytes:
    """The payload of a frame of headers without slashes in the authority; the same when it has none.

    What cannot be read is left for the engine to judge.

    Args:
        block: The payload.
        flags: Of the frame.
    """
    start = (1 if flags & _PADDED else 0) + (_PRIORITY_BYTES if flags & _PRIORITY else 0)
    reader = _Reader(bytearray(block), start)
    try:
        end = len(block) - (block[0] if flags & _PADDED else 0)
        while reader.at < end:
            reader.field()
    except (IndexError, HPACKError):
        return block
    return bytes(reader.data)


class _Reader:
    """Goes through the fields of a header block without the table that they refer to."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytearray, at: int) -> None:
        self.data = data
        self.at = at

    def field(self) -> None:
        """Pass one field, and change it if it is the authority."""
        first = self.data[self.at]
        if first & 0x80:  # a field of the table
            self._number(7)
        elif first & 0xE0 == 0x20:  # a new size of the table
            self._number(5)
        else:
            name = self._number(6 if first & 0x40 else 4)
            if not name:
                self._text()
            start, end, packed = self._text()
            if name == _AUTHORITY:
                self._change(start, end, packed=packed)

    def _number(self, bits: int) -> int:
        most = (1 << bits) - 1
        value = self.data[self.at] & most
        self.at += 1
        shift = 0
        more = value == most
        while more:
            if shift > _MOST_SHIFT:
                raise IndexError
            byte = self.data[self.at]
            self.at += 1
            value += (byte & 0x7F) << shift
            shift += 7
            more = bool(byte & 0x80)
        return value

    def _text(self) -> tuple[int, int, bool]:
        packed = bool(self.data[self.at] & _HUFFMAN)
        length = self._number(7)
        start, self.at = self.at, self.at + length
        if self.at > len(self.data):
            raise IndexError
        return start, self.at, packed

    def _change(self, start: int, end: int, *, packed: bool) -> None:
        text = bytes(self.data[start:end])
        if packed:
            changed = _HUFFMAN_ENCODER.encode(decode_huffman(text).replace(b"/", b"."))
        else:
            changed = text.replace(b"/", b".")
        if len(changed) == len(text):
            self.data[start:end] = changed
