"""HTTP/2 input at a server: both engines end the connection for bad input and do nothing else to us."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

import hpack
from hyperframe import frame as f

from finial.core.errors import FinialError
from finial.rpc.engine import EngineError, EngineRole, Headers, engine_kind
from finial.rpc.framing import frame
from finial.rpc.h2frames import FrameFilter
from finial.rpc.limits import Limits
from fuzz.target import Target

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_ROLE = EngineRole(client=False, limits=Limits(max_concurrent_streams=10))
_KINDS_OF_ENGINE = {name: engine_kind(name, _ROLE) for name in ("ngh2", "h2")}
_REQUEST = [
    (":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x"), ("te", "trailers"),
    ("content-type", "application/grpc"), ("grpc-timeout", "1S"), ("x-bin", "AA"),
]  # fmt: skip
_DATA, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _UNKNOWN = 0, 3, 4, 6, 7, 8, 200
_KINDS = [_DATA, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _UNKNOWN]


class _Sink:
    """Answers what it can, so that the engine has states to be confused in."""

    def __init__(self, name: str) -> None:
        self.engine = _KINDS_OF_ENGINE[name].make(self)

    def on_headers(self, stream_id: int, headers: Headers, ended: bool) -> None:
        self.engine.respond(stream_id, ((b":status", b"200"),), end=False)
        self.engine.send(stream_id, b"x" * 100, end=False)
        self.engine.trail(stream_id, ((b"grpc-status", b"0"),))

    def on_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        self.engine.consume(stream_id, len(data))

    def on_trailers(self, stream_id: int, headers: Headers) -> None: ...

    def on_reset(self, stream_id: int, error_code: int) -> None: ...

    def on_stream_closed(self, stream_id: int, error_code: int) -> None: ...

    def on_window(self, stream_id: int) -> None: ...

    def on_settings(self) -> None: ...

    def on_ping(self) -> None: ...

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None: ...

    def on_finished(self) -> None: ...


def check(data: bytes) -> None:
    rest = b""
    try:
        for piece in FrameFilter(preface=True).feed(data):
            rest += piece if isinstance(piece, bytes) else b""
    except EngineError:
        rest = b""
    assert len(rest) <= len(data)
    for name in ("ngh2", "h2"):
        sink = _Sink(name)
        sink.engine.start()
        try:
            for at in range(0, len(data), 1000):
                sink.engine.receive(data[at : at + 1000])
                sink.engine.pull(1 << 16)
        except FinialError as refused:
            assert refused.message
        sink.engine.terminate(1, b"end")
        sink.engine.pull(1 << 16)


def corpus() -> list[bytes]:
    encoder = hpack.Encoder()
    head = f.HeadersFrame(1, encoder.encode(_REQUEST), flags=["END_HEADERS"])
    call = head.serialize() + f.DataFrame(1, frame(b"hello"), flags=["END_STREAM"]).serialize()
    begin = _PREFACE + f.SettingsFrame(0, {4: 70_000}).serialize()
    others = b"".join(
        each.serialize()
        for each in (
            f.PingFrame(0, b"12345678"),
            f.WindowUpdateFrame(0, 1000),
            f.SettingsFrame(0, flags=["ACK"]),
            f.RstStreamFrame(1, 8),
            f.GoAwayFrame(0, 5, 0, b"bye"),
        )
    )
    return [begin + call, begin + others, begin + call + others, begin + call[: len(call) // 2]]


def generate(source: random.Random) -> bytes:
    data = _PREFACE + f.SettingsFrame(0).serialize()
    encoder = hpack.Encoder()
    for _ in range(source.randint(1, 8)):
        stream = source.choice((0, 1, 1, 3, 5, 2, 2**31 - 1))
        if source.random() < 0.4:
            fields = source.sample(_REQUEST, source.randint(1, len(_REQUEST)))
            flags = source.sample(["END_HEADERS", "END_STREAM", "PADDED", "PRIORITY"], source.randint(0, 2))
            block = encoder.encode(fields)
            data += f.HeadersFrame(stream or 1, block, flags=flags).serialize()
            continue
        body = source.randbytes(source.choice((0, 4, 5, 6, 8, 9, 100)))
        kind = source.choice(_KINDS)
        data += len(body).to_bytes(3, "big") + bytes([kind, source.randrange(256)])
        data += stream.to_bytes(4, "big") + body
    return data


_PARSER = ("finial.rpc.h2frames", "finial.rpc.engine_h2", "finial.rpc.engine_ngh2", "finial.rpc.engine")
TARGET = Target("frames", corpus, check, generate, modules=_PARSER)
