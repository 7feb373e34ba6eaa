"""SPIRE's spellings of options, turned into ours before they are parsed. Pure.

`-spiffeID X`, `-spiffeID=X` and `--spiffeID=X` become `--spiffe-id X`; `-downstream=false` becomes
`--no-downstream`. Options are compared without hyphens and case, so none has to be listed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Where SPIRE's word for an option is another one.
_OTHER_WORDS = {"socketpath": "--socket", "id": "--trust-domain"}
_TRUE = frozenset({"true", "1", "t"})
_FALSE = frozenset({"false", "0", "f"})
_WORDS = frozenset({"true", "false"})


@dataclass(frozen=True, slots=True)
class Option:
    """What has to be known of an option of ours.

    Args:
        name: `--spiffe-id`.
        negative: `--no-admin` of a flag that has one; empty for other options.
        takes_value: Whether the word behind it is its value.
    """

    name: str
    negative: str = ""
    takes_value: bool = True


def translate(words: Sequence[str], options: Sequence[Option]) -> list[str]:
    """The words of a command line with every option in our spelling.

    Args:
        words: Behind the name of the command.
        options: Those of the command.
    """
    known = {_squeezed(option.name): option for option in options}
    known |= {_squeezed(option.negative): option for option in options if option.negative}
    for other, name in _OTHER_WORDS.items():
        if _squeezed(name) in known:
            known.setdefault(other, known[_squeezed(name)])
    return list(_translated(deque(words), known))


def _translated(words: deque[str], known: Mapping[str, Option]) -> Iterator[str]:
    while words:
        word = words.popleft()
        if word == "--":
            yield word
            while words:
                yield words.popleft()
        elif len(word) < 3 or not word.startswith("-"):
            yield word
        else:
            yield from _option(word, words, known)


def _option(word: str, rest: deque[str], known: Mapping[str, Option]) -> Iterator[str]:
    name, equals, value = word.partition("=")
    option = known.get(_squeezed(name))
    if option is None:
        yield word if word.startswith("--") else f"-{word}"  # its refusal names the nearest one
    elif option.takes_value:
        yield option.name
        yield from [value] if equals else [rest.popleft() for _ in range(min(1, len(rest)))]
    else:
        if not equals and rest and rest[0].lower() in _WORDS:
            equals, value = "=", rest.popleft()  # as SPIRE takes `-banned true`
        negated = bool(option.negative) and _squeezed(name) == _squeezed(option.negative)
        truth = _truth(value) if equals else True
        if truth is None:
            yield word if word.startswith("--") else f"-{word}"  # as above
        elif truth is not negated:
            yield option.name
        else:
            yield from filter(None, [option.negative])


def _truth(value: str) -> bool | None:
    """What a flag is set to by its value, as Go programs take it; None for what is neither true nor false."""
    low = value.lower()
    return True if low in _TRUE else False if low in _FALSE else None


def _squeezed(name: str) -> str:
    return name.replace("-", "").lower()
