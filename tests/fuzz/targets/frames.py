"""HTTP/2 input at both ends: both engines end the connection for bad input and do nothing else to us."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from contextlib import suppress

import hpack
from hyperframe import frame as f

from finial.core.errors import FinialError
from finial.rpc.engine import EngineError, EngineRole, Headers, StreamGoneError, engine_kind
from finial.rpc.framing import frame
from finial.rpc.h2frames import FrameFilter
from finial.rpc.limits import Limits
from fuzz.target import Target

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_KINDS_OF_ENGINE = {
    (name, client): engine_kind(name, EngineRole(client=client, limits=Limits(max_concurrent_streams=10)))
    for name in ("ngh2", "h2")
    for client in (False, True)
}
_REQUEST = [
    (":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x"), ("te", "trailers"),
    ("content-type", "application/grpc"), ("grpc-timeout", "1S"), ("x-bin", "AA"),
]  # fmt: skip
_RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]
_TRAILERS = [("grpc-status", "0"), ("grpc-message", "x"), ("x-bin", "AA")]
_BYTES = tuple((name.encode(), value.encode()) for name, value in _REQUEST)
_DATA, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _UNKNOWN = 0, 3, 4, 6, 7, 8, 200
_KINDS = [_DATA, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _UNKNOWN]


class _Sink:
    """Answers what it can, in one of several ways, so that the engine has states to be confused in."""

    def __init__(self, name: str, *, client: bool, way: int) -> None:
        self.engine = _KINDS_OF_ENGINE[name, client].make(self)
        self.client = client
        self.way = way

    def on_headers(self, stream_id: int, headers: Headers, ended: bool) -> None:
        if self.client:
            return
        self.engine.respond(stream_id, ((b":status", b"200"),), end=self.way == 5)
        self.engine.send(stream_id, b"x" * 100, end=self.way == 4)
        if self.way == 3:
            self.engine.reset(stream_id, 8)
        elif self.way == 2:
            self.engine.end(stream_id)
        else:
            self.engine.trail(stream_id, ((b"grpc-status", b"0"),))
        assert self.engine.queued(stream_id) <= 100

    def on_data(self, stream_id: int, data: bytes, ended: bool) -> None:
        self.engine.consume(stream_id, len(data))

    def on_trailers(self, stream_id: int, headers: Headers) -> None: ...

    def on_reset(self, stream_id: int, error_code: int) -> None:
        with suppress(StreamGoneError):
            self.engine.send(stream_id, b"late", end=False)

    def on_stream_closed(self, stream_id: int, error_code: int) -> None:
        self.engine.reset(stream_id, 8)

    def on_window(self, stream_id: int) -> None: ...

    def on_settings(self) -> None:
        assert self.engine.peer_max_streams >= 0

    def on_ping(self) -> None:
        if self.way == 1 and not self.client:
            self.engine.announce_shutdown()
            self.engine.refuse_new()

    def on_goaway(self, last_stream_id: int, error_code: int, debug: bytes) -> None: ...

    def on_finished(self) -> None: ...

    def begin(self) -> None:
        """Say what an end says first; a client asks for something at once."""
        self.engine.start()
        if self.client:
            stream_id = self.engine.request(_BYTES)
            self.engine.send(stream_id, b"x" * 100, end=self.way == 4)


def check(data: bytes) -> None:
    """What begins as a client's input does goes to servers, anything else to clients."""
    client = not data.startswith(b"PRI")
    rest = b""
    try:
        for piece in FrameFilter(preface=not client).feed(data):
            rest += piece if isinstance(piece, bytes) else b""
    except EngineError:
        rest = b""
    assert len(rest) <= len(data)
    for name in ("ngh2", "h2"):
        sink = _Sink(name, client=client, way=len(data) % 7)
        sink.begin()
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
    body = f.DataFrame(1, frame(b"hello"), flags=["END_STREAM"])
    call = head.serialize() + body.serialize()
    begin = _PREFACE + f.SettingsFrame(0, {4: 70_000}).serialize()
    narrow = _PREFACE + f.SettingsFrame(0, {4: 50}).serialize()
    padded = f.DataFrame(1, frame(b"hello"), flags=["PADDED"], pad_length=9).serialize()
    others = b"".join(
        each.serialize()
        for each in (
            f.PingFrame(0, b"12345678"),
            f.WindowUpdateFrame(0, 1000),
            f.WindowUpdateFrame(1, 1000),
            f.SettingsFrame(0, flags=["ACK"]),
            f.RstStreamFrame(1, 8),
            f.GoAwayFrame(0, 5, 0, b"bye"),
        )
    )
    answers = hpack.Encoder()
    answer = f.HeadersFrame(1, answers.encode(_RESPONSE), flags=["END_HEADERS"]).serialize()
    end = f.HeadersFrame(1, answers.encode(_TRAILERS), flags=["END_HEADERS", "END_STREAM"]).serialize()
    settings = f.SettingsFrame(0, {3: 100}).serialize()
    made = [begin + call, begin + others, begin + call + others, begin + call[: len(call) // 2]]
    made += [narrow + call + others, begin + head.serialize() + padded + others]
    made += [settings + answer + padded + end, settings + answer + body.serialize(), settings + others]
    # What lies behind the last frame makes the input as long as each way to answer wants it.
    return [each + b"\x00" * (way - len(each) % 7) for each in made for way in range(len(each) % 7, 7)]


def generate(source: random.Random) -> bytes:
    client = source.random() < 0.3
    data = (b"" if client else _PREFACE) + f.SettingsFrame(0, source.choice(_SETTINGS_OF)).serialize()
    encoder = hpack.Encoder()
    for _ in range(source.randint(1, 8)):
        stream = source.choice((0, 1, 1, 3, 5, 2, 2**31 - 1))
        chance = source.random()
        if chance < 0.4:
            fields = source.choice((_RESPONSE, _TRAILERS)) if client else _REQUEST
            if source.random() < 0.3:
                fields = source.sample(fields, source.randint(1, len(fields)))
            flags = source.sample(["END_STREAM", "PADDED", "PRIORITY"], source.choice((0, 0, 1, 2)))
            block = encoder.encode(fields)
            flags += ["END_HEADERS"] if source.random() < 0.9 else []
            data += f.HeadersFrame(stream or 1, block, flags=flags).serialize()
            continue
        if chance < 0.6:
            flags = source.sample(["END_STREAM", "PADDED"], source.choice((0, 0, 1, 2)))
            data += f.DataFrame(stream or 1, frame(b"hello"), flags=flags, pad_length=3).serialize()
            continue
        body = source.randbytes(source.choice((0, 4, 5, 6, 8, 9, 100)))
        kind = source.choice(_KINDS)
        data += len(body).to_bytes(3, "big") + bytes([kind, source.randrange(256)])
        data += stream.to_bytes(4, "big") + body
    return data


_SETTINGS_OF: tuple[dict[int, int], ...] = ({}, {4: 50}, {4: 0}, {4: 70_000}, {1: 0}, {3: 0}, {5: 16_384})
_PARSER = ("finial.rpc.h2frames", "finial.rpc.engine_h2", "finial.rpc.engine_ngh2")
_OMITS = ("ngh2_engines",)
TARGET = Target("frames", corpus, check, generate, modules=_PARSER, omits=_OMITS)
