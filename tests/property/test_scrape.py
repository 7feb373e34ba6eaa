"""Whatever bytes come to where figures are served, what goes back is one answer, or nothing yet."""

from __future__ import annotations

import asyncio

import h11
from hypothesis import given
from hypothesis import strategies as st

from finial.runtime.metrics import Registry
from finial.runtime.scrape import Responder, _Connection
from support.clock import ManualClock

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class _Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.ended = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        self.written += data

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
        self.ended = True


def _pieces() -> st.SearchStrategy[list[bytes]]:
    known = st.sampled_from(
        [GET, GET[:20], GET[20:], b"\r\n", b"\r\n\r\n", b"Host: x\r\n", b"HEAD /live HTTP/1.1\r\n"]
    )
    return st.lists(st.one_of(known, st.binary(min_size=1, max_size=64)), max_size=8)


@given(_pieces())
def test_whatever_comes_is_answered_once_or_waited_for(pieces: list[bytes]) -> None:
    async def main() -> None:
        connection, wire = _Connection(Responder(Registry(), lambda: True, ManualClock())), _Wire()
        connection.connection_made(wire)
        for piece in pieces:
            connection.data_received(piece)
        connection.connection_lost(None)
        assert bool(wire.written) is wire.ended
        if wire.written:
            client = h11.Connection(h11.CLIENT)
            client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
            client.receive_data(wire.written)
            answer = client.next_event()
            assert isinstance(answer, h11.Response)
            assert answer.status_code in {200, 400, 404, 405, 431, 501, 505}

    asyncio.run(main())
