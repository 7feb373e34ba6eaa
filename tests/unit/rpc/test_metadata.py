from __future__ import annotations

import pytest

from finial.rpc import metadata as m
from finial.rpc.status import RpcError, StatusCode


def test_metadata_goes_there_and_back() -> None:
    original = (("name", "value with ~"), ("blob-bin", b"\x00\xff\x80"), ("empty", ""))
    headers = m.encode_metadata(original)
    assert headers[1] == (b"blob-bin", b"AP+A")
    assert m.decode_metadata(headers) == original


def test_headers_of_grpc_are_no_metadata() -> None:
    headers = [
        (b":path", b"/x"),
        (b"grpc-timeout", b"1S"),
        (b"te", b"trailers"),
        (b"user-agent", b"u"),
        (b"a", b"b"),
    ]
    assert m.decode_metadata(headers) == (("a", "b"),)


def test_padded_and_joined_binary_values_are_read() -> None:
    assert m.decode_metadata([(b"x-bin", b"YQ==,Yg")]) == (("x-bin", b"a"), ("x-bin", b"b"))
    with pytest.raises(RpcError) as refused:
        m.decode_metadata([(b"x-bin", b"!!")])
    assert refused.value.code is StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Upper", "x"),
        ("a b", "x"),
        ("", "x"),
        ("grpc-x", "x"),
        ("a", b"x"),
        ("a-bin", "x"),
        ("a", "ü"),
        ("a", "x\n"),
    ],
)
def test_what_cannot_stand_in_a_header_is_refused(key: str, value: str | bytes) -> None:
    with pytest.raises(ValueError, match="metadata"):
        m.encode_metadata([(key, value)])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.5, b"1500000u"),
        (0.0, b"0n"),
        (-1.0, b"0n"),
        (99.0, b"99000000u"),
        (3600.0, b"3600000m"),
        (1e15, b"99999999H"),
    ],
)
def test_timeouts_take_the_finest_unit_that_holds_them(seconds: float, text: bytes) -> None:
    assert m.encode_timeout(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9)],
)
def test_timeouts_are_read(text: bytes, seconds: float) -> None:
    assert m.decode_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"1", b"S", b"123456789S", b"-1S", b"1S\n", b"1 S"])
def test_malformed_timeouts_are_refused(text: bytes) -> None:
    with pytest.raises(RpcError, match="grpc-timeout"):
        m.decode_timeout(text)


def test_messages_are_percent_encoded() -> None:
    assert m.encode_message("plain words") == b"plain words"
    assert m.encode_message("100 % für\nalle") == b"100 %25 f%C3%BCr%0Aalle"
    for text in ("", "ü€", "a%20b", "line\r\nline", "\ud800"):
        assert m.decode_message(m.encode_message(text)) == text.encode("utf-8", "replace").decode()


def test_broken_encoding_in_a_message_is_shown_as_it_can_be() -> None:
    assert m.decode_message(b"a%zz%ff") == "a%zz\ufffd"
