"""The document that lists every difference, written from the tables."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator

from differential.difference import BOTH, DIFFERENCES, GO, Difference
from support.judge import LIBRARIES, Library

_WIDTH = 112
_TITLES = {
    "id": "SPIFFE IDs",
    "bundle": "Bundle documents",
    "chain": "Certificates and chains",
    "jwt": "JWT-SVIDs",
    "wit": "WIT-SVIDs",
}
_HEAD = """# Where SPIFFE libraries disagree with Finial

Written by `cd tests && python -m differential > ../docs/differences.md` from `tests/differential/tables`.

`tests/interop/test_differential.py` gives thousands of generated SPIFFE IDs, bundle documents, certificates,
chains and tokens, good and bad, to go-spiffe and to `finial.core`. Both have to refuse an input, or read the
same in it. Where they do not, the disagreement has to be one of those below; another one fails the test, and
so does one below that no longer occurs. `DIFFERENCES` and `SEED` in the environment say how many inputs of
each kind are tried, and which. Clauses are those of `docs/conformance.md`, or sections of RFCs.
"""
_OTHERS = """## The other libraries

What we make is also given to java-spiffe, the Rust crate and py-spiffe. They accept it, but for what this
table says; they read no bundle documents and know no WIT-SVIDs.
"""


def document() -> str:
    """All of it."""
    return "\n".join([_HEAD, *_sections(), _OTHERS, *_table(), ""])


def _sections() -> Iterator[str]:
    told: set[str] = set()
    for kind, title in _TITLES.items():
        yield f"## {title}\n"
        for each in DIFFERENCES:
            if kind in each.kinds and each.id not in told:
                told.add(each.id)
                yield _entry(each)


def _entry(each: Difference) -> str:
    also = " Also in WIT-SVIDs." if len(each.kinds) > 1 else ""
    lines = (
        f"### {each.id}",
        "",
        _wrapped(f"{each.what}{also}"),
        "",
        _wrapped(f"- Example: {each.example}"),
        f"- {_who(each)}",
        _wrapped(f"- Who is right? {each.right}"),
        f"- Clauses: {', '.join(each.clauses)}",
        "",
    )
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    indent = "  " if text.startswith("- ") else ""
    lines = textwrap.wrap(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines)


def _who(each: Difference) -> str:
    if each.accepts == BOTH:
        return "Both accept, and read different things."
    return (
        "go-spiffe accepts, Finial refuses." if each.accepts == GO else "Finial accepts, go-spiffe refuses."
    )


def _table() -> Iterator[str]:
    yield "| library | " + " | ".join(_QUESTIONS) + " |"
    yield "|---" * (len(_QUESTIONS) + 1) + "|"
    for library in LIBRARIES:
        answers = (answer(library) for answer in _QUESTIONS.values())
        yield f"| {library.name} | " + " | ".join(answers) + " |"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


_EVERY = frozenset[str]().union(*(library.algorithms for library in LIBRARIES))
_QUESTIONS: dict[str, Callable[[Library], str]] = {
    "verifies chains": lambda library: _yes("chain" in library.judges),
    "algorithms of tokens it lacks": lambda library: ", ".join(sorted(_EVERY - library.algorithms)) or "none",
    "one audience in common is enough (JWT-17)": lambda library: _yes(library.any_audience),
    "refuses a key that is not the leaf's": lambda library: _yes(library.pairs_keys),
    "writes PEM": lambda library: _yes(library.writes_pem),
    "tells hints": lambda library: _yes(library.tells_hints),
}
