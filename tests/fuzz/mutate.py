"""Mutation of byte strings: the usual small damages, drawn from a seeded source."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections.abc import Callable, Sequence

MAX_INPUT_BYTES = 64 << 10
_EDGES = (
    b"\x00",
    b"\xff",
    b"\x80",
    b"\x7f",
    b"\n",
    b'"',
    b"/",
    b"\\",
    b"{",
    b"[",
    b":",
    b"%",
    b"\xe2\x84\xaa",
)

Damage = Callable[[random.Random, bytearray], None]


def _flip(source: random.Random, data: bytearray) -> None:
    data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def _replace(source: random.Random, data: bytearray) -> None:
    data[source.randrange(len(data))] = source.randrange(256)


def _insert(source: random.Random, data: bytearray) -> None:
    at = source.randrange(len(data) + 1)
    data[at:at] = source.choice(_EDGES) if source.random() < 0.5 else source.randbytes(source.randint(1, 8))


def _delete(source: random.Random, data: bytearray) -> None:
    at = source.randrange(len(data))
    del data[at : at + source.randint(1, 1 + len(data) // 8)]


def _repeat(source: random.Random, data: bytearray) -> None:
    at = source.randrange(len(data))
    piece = data[at : at + source.randint(1, 64)]
    data[at:at] = piece * source.choice((1, 2, 16, 256))


def _move(source: random.Random, data: bytearray) -> None:
    start, end = source.randrange(len(data)), source.randrange(len(data))
    length = source.randint(1, 32)
    data[end : end + length] = data[start : start + length]


_DAMAGES: Sequence[Damage] = (_flip, _replace, _insert, _delete, _repeat, _move)


def mutated(source: random.Random, corpus: Sequence[bytes]) -> bytes:
    """An input of the corpus, damaged in one to eight places, or two of them spliced.

    Args:
        source: Where all chance comes from.
        corpus: At least one input.
    """
    data = bytearray(source.choice(corpus))
    if source.random() < 0.1:
        other = source.choice(corpus)
        data[source.randrange(len(data) + 1) :] = other[source.randrange(len(other) + 1) :]
    for _ in range(source.choice((1, 1, 1, 2, 3, 8))):
        if not data:
            break
        source.choice(_DAMAGES)(source, data)
    return bytes(data[:MAX_INPUT_BYTES])
