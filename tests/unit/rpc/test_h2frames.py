from __future__ import annotations

import pytest

from finial.rpc.engine import EngineError
from finial.rpc.h2frames import FrameFilter, GoAway, goaway_frame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PING = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"
DATA = b"\x00\x00\x03\x00\x01\x00\x00\x00\x01abc"


def test_goaway_frames_are_cut_out_however_the_bytes_come() -> None:
    whole = PREFACE + PING + goaway_frame(7, 2, b"why") + DATA + goaway_frame(9, 0) + PING
    for size in (1, 3, 8, 9, 10, 17, len(whole)):
        cutter = FrameFilter(preface=True)
        rest, found = b"", []
        for at in range(0, len(whole), size):
            for item in cutter.feed(whole[at : at + size]):
                if isinstance(item, bytes):
                    rest += item
                else:
                    found.append(item)
        assert rest == PREFACE + PING + DATA + PING
        assert found == [GoAway(7, 2, b"why"), GoAway(9, 0, b"")]


@pytest.mark.parametrize("kind", [0, 7, 255])
def test_frames_larger_than_admitted_are_refused_on_their_header(kind: int) -> None:
    with pytest.raises(EngineError, match="frame of 16385 bytes"):
        list(FrameFilter(preface=False).feed((16_385).to_bytes(3, "big") + bytes([kind]) + bytes(5)))


@pytest.mark.parametrize("length", [0, 7])
def test_goaway_frames_of_impossible_length_are_refused(length: int) -> None:
    with pytest.raises(EngineError, match=f"GOAWAY frame of {length} bytes"):
        list(FrameFilter(preface=False).feed(length.to_bytes(3, "big") + b"\x07" + bytes(5)))
