"""SPIFFE IDs."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from differential.kinds import Found, Kind, Question, Verdict, data, refused
from finial.core.errors import SpiffeIDError
from finial.core.ids import SpiffeID
from fuzz.mutate import mutated
from fuzz.targets import ids
from support.judge import question

_NAMES = (
    "a.test",
    "10.0.0.1",
    "a_b",
    "-a",
    "A.test",
    "a.Test",
    "x" * 255,
    "x" * 256,
    "[::1]",
    "a%41",
    "",
    "a@b",
    "a:1",
)
_SEGMENTS = (
    "a",
    "A",
    "b.c",
    "...",
    "..",
    ".",
    "",
    "%41",
    "\u212a",
    "a b",
    "a:b",
    "x" * 1780,
    "x" * 2000,
    "a\n",
    "a?b",
    "a#",
)
_SCHEMES = ("spiffe://", "spiffe://", "spiffe://", "SPIFFE://", "Spiffe://", "spiffe:/", "https://", "")
_CORPUS = ids.corpus()


def draw(source: random.Random, now: datetime) -> Question:
    form = source.random()
    if form < 0.25:
        text = ids.generate(source)
    elif form < 0.5:
        text = mutated(source, _CORPUS)
    else:
        path = "".join(f"/{_one(source, _SEGMENTS)}" for _ in range(source.randint(0, 3)))
        text = f"{_one(source, _SCHEMES)}{_one(source, _NAMES)}{path}".encode()
    return question("id", text=text)


def _one(source: random.Random, options: tuple[str, ...]) -> str:
    """Mostly the first, so that an input has one fault rather than many."""
    return options[0] if source.random() < 0.6 else source.choice(options)


def judge(asked: Question, now: datetime) -> Verdict:
    try:
        found = SpiffeID(text_of(asked))
    except SpiffeIDError as error:
        return refused(error)
    return Verdict({"spiffe_id": found.text, "trust_domain": found.trust_domain.name, "path": found.path})


def text_of(asked: Question) -> str:
    return data(asked["text"]).decode("utf-8", "surrogateescape")


def read(answer: Mapping[str, Any]) -> Found:
    return {name: answer[name] for name in ("spiffe_id", "trust_domain", "path")}


KIND = Kind("id", draw, judge, read)
