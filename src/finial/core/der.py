"""Cutting DER into its parts, without decoding values.

`cryptography` parses certificates; what it does not give away are the raw bytes of a name, which path
validation compares, and where one certificate ends in a concatenation of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from finial.core.errors import FinialError

Refuse = Callable[[str], FinialError]

SEQUENCE = 0x30
INTEGER = 0x02


class Cutter:
    """Walks the elements of one DER value in order.

    Args:
        data: DER.
        refuse: Makes the error for what is not DER, from one line.
        start: Where to begin, in bytes.
        end: Where the value ends; the end of the data when left out.
    """

    __slots__ = ("_at", "_data", "_end", "_refuse")

    def __init__(self, data: bytes, refuse: Refuse, *, start: int = 0, end: int | None = None) -> None:
        self._data = data
        self._refuse = refuse
        self._at = start
        self._end = len(data) if end is None else end

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self._at >= self._end

    def skip(self) -> None:
        """Pass over one element, whatever it is."""
        self._element()

    def peek(self) -> int:
        """The tag that comes next; -1 at the end."""
        return -1 if self.done else self._data[self._at]

    def take(self) -> bytes:
        """One whole element, tag and length included."""
        start, _, end = self._element()
        return self._data[start:end]

    def remainder(self) -> bytes:
        """What is left, uncut."""
        return self._data[self._at : self._end]

    def content(self, tag: int) -> bytes:
        """The content of one element, which has to have this tag."""
        start, body, end = self._element()
        self._expect(start, tag)
        return self._data[body:end]

    def enter(self, tag: int) -> Cutter:
        """A walk through the content of one element, which has to have this tag."""
        start, body, end = self._element()
        self._expect(start, tag)
        return Cutter(self._data, self._refuse, start=body, end=end)

    def _expect(self, start: int, tag: int) -> None:
        if self._data[start] != tag:
            raise self._refuse(f"DER tag {self._data[start]:#04x} where {tag:#04x} belongs")

    def _element(self) -> tuple[int, int, int]:
        start, data = self._at, self._data
        if start + 2 > self._end:
            raise self._refuse("DER ends in the middle of an element")
        length, body = data[start + 1], start + 2
        if length >= 0x80:
            size = length & 0x7F
            # Four bytes of length are 4 GiB; zero is the indefinite form, which DER has not.
            if not 1 <= size <= 4:
                raise self._refuse("DER length in a form that is not allowed")
            length = int.from_bytes(data[body : body + size], "big")
            body += size
        end = body + length
        if end > self._end:
            raise self._refuse("DER ends in the middle of an element")
        self._at = end
        return start, body, end


def split(data: bytes, refuse: Refuse) -> Iterator[bytes]:
    """The DER values of which the data is a concatenation, one after the other.

    Args:
        data: Any number of SEQUENCEs, nothing between them.
        refuse: Makes the error for what is not DER.

    Raises:
        FinialError: What `refuse` makes, when the data is something else.
    """
    cutter = Cutter(data, refuse)
    while not cutter.done:
        if cutter.peek() != SEQUENCE:
            raise refuse(f"DER tag {cutter.peek():#04x} where a certificate belongs")
        yield cutter.take()
