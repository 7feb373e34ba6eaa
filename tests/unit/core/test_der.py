from __future__ import annotations

import pytest

from finial.core.der import Cutter, split
from finial.core.errors import Kind, Reason, RefusedError
from support.forge import tlv

REASON = Reason("der-test", Kind.INVALID)


def refuse(why: str) -> RefusedError:
    return RefusedError.because(REASON, why)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65536])
def test_elements_of_every_length(size: int) -> None:
    data = tlv(0x04, b"x" * size) + b"\x05\x00"
    cutter = Cutter(data, refuse)
    assert cutter.peek() == 0x04
    assert cutter.content(0x04) == b"x" * size
    assert cutter.remainder() == b"\x05\x00"
    cutter.skip()
    assert cutter.done
    assert cutter.peek() == -1


def test_entering_stays_inside() -> None:
    cutter = Cutter(tlv(0x30, tlv(0x02, b"\x01")) + b"\x02\x01\x02", refuse).enter(0x30)
    assert cutter.take() == b"\x02\x01\x01"
    assert cutter.done
    with pytest.raises(RefusedError):
        cutter.take()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x30",
        b"\x30\x01",
        b"\x30\x80\x00\x00",
        b"\x30\x85\x00\x00\x00\x00\x00",
        b"\x30\x82\x01",
        b"\x04\x00",
    ],
)
def test_what_is_not_a_sequence_in_der(data: bytes) -> None:
    with pytest.raises(RefusedError):
        Cutter(data, refuse).enter(0x30)


def test_splitting_a_concatenation() -> None:
    parts = [tlv(0x30, b"a"), tlv(0x30), tlv(0x30, b"c" * 300)]
    assert list(split(b"".join(parts), refuse)) == parts
    assert list(split(b"", refuse)) == []
    with pytest.raises(RefusedError):
        list(split(parts[0] + b"\x04\x00", refuse))
