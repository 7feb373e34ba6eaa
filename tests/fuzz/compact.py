"""Tokens as inputs: header, payload and signature with zero bytes between them, each before base64url.

What has another number of zero bytes is a token as it stands, so that mutation gets at both.
"""

from __future__ import annotations

import base64
import json
import random  # noqa: TID251 - seeded
from collections.abc import Mapping, Sequence
from typing import Any

from support import tokens

Object = dict[str, Any]

_SPLIT = b"\x00"
_SIGNATURE = bytes([1]) * 64
# What stands for a member as it is written, for what no JSON writer lets out.
_WRITTEN = (
    b"NaN",
    b"1e999",
    b"-0",
    b"1E2",
    b"9" * 400,
    b'"\\ud800"',
    b"01",
    b"[" * 17 + b"]" * 17,
    b"1.0",
    b"{}",
)


def token(data: bytes) -> str:
    """The token that an input is."""
    pieces = data.split(_SPLIT)
    return ".".join(map(tokens.text, pieces)) if len(pieces) == 3 else data.decode("latin-1")


def joined(header: object, payload: object, signature: bytes = _SIGNATURE) -> bytes:
    """The input for a header and a payload; bytes as they are, anything else as JSON."""
    texts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, payload)]
    return _SPLIT.join((*texts, signature.replace(_SPLIT, b"\x01")))


def whole(data: bytes) -> bytes:
    """The same token as an input that is the token as it stands."""
    return token(data).encode("latin-1")


def read(text: str) -> tuple[Object, Object]:
    """Header and payload of a token, by another reader than the one under test."""
    header, payload, _ = text.split(".")
    return json.loads(base64.urlsafe_b64decode(f"{header}==")), json.loads(
        base64.urlsafe_b64decode(f"{payload}==")
    )


def one_spelling(text: str) -> bool:
    """Whether each part of a token is spelled as bytes are, in the only way."""
    return all(tokens.text(base64.urlsafe_b64decode(f"{part}==")) == part for part in text.split("."))


def thawed(value: object) -> object:
    """A value of which nothing can be changed, as a JSON reader returns it."""
    if isinstance(value, Mapping):
        return {name: thawed(each) for name, each in value.items()}
    return [thawed(each) for each in value] if isinstance(value, tuple) else value


def changed(source: random.Random, members: Object, odd: Sequence[object], names: Sequence[str]) -> bytes:
    """An object in which some members are others, or are written as none is.

    Args:
        source: Where all chance comes from.
        members: What it would be.
        odd: What members may become.
        names: Of members that may come in besides.
    """
    found = dict(members)
    for _ in range(source.choice((0, 0, 1, 2))):
        found[source.choice([*names, *found])] = source.choice(odd)
    if found and source.random() < 0.1:
        del found[source.choice(list(found))]
    text = json.dumps(found).encode()
    chance = source.random()
    if chance < 0.03:  # twice, in this order or the other
        twice = json.dumps({source.choice([*names, *found]): source.choice(odd)}).encode()
        return text[:-1] + b"," + twice[1:]
    if chance < 0.1:
        name = source.choice([*names, *found]).encode()
        return b'{"' + name + b'":' + source.choice(_WRITTEN) + (b"," + text[1:] if found else b"}")
    return (
        text
        if chance < 0.98
        else source.choice((b"\xef\xbb\xbf" + text, text + b" x", b"[" + text + b"]", b""))
    )
