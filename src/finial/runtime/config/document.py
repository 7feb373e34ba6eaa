"""TOML files with the line of each key, which the standard reader does not tell. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_WORD = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = rf"{_WORD}(?:[ \t]*\.[ \t]*{_WORD})*"
_HEADER = re.compile(rf"[ \t]*\[(\[?)[ \t]*({_KEY})[ \t]*\]\]?")
_PAIR = re.compile(rf"[ \t]*({_KEY})[ \t]*=")
_WORDS = re.compile(_WORD)
# Whatever can hold a line break or a bracket inside, as one piece.
_PIECE = re.compile(
    r'"""(?:[^\\]|\\.)*?"""+|\'\'\'.*?\'\'\'+|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|.',
    re.DOTALL,
)
# What leads from a table or list to what it holds.
_LAST_STEP = re.compile(r"(?:\.[^.\[\]]*|\[[0-9]+\])\Z")
_MAX_DEPTH = 32  # of tables and lists in each other: whoever walks them recurses
# A line that may begin with a key of more words than that; in a text of several lines it may be none.
_DEEP = re.compile(rf"^[ \t]*(?:\[\[?[ \t]*)?(?:{_WORD}[ \t]*\.[ \t]*){{{_MAX_DEPTH}}}", re.MULTILINE)
_AT = re.compile(r"\(at line (\d+), column (\d+)\)")


class DocumentError(ValueError):
    """The text is no TOML.

    Args:
        message: What is wrong.
        line: Where, from 1; 0 when that is not known.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says.

    Args:
        name: Of the file, for messages; empty for no file.
        table: Its content.
        lines: On which line each key stands, by its path with dots. In a list of tables `many[1].key` is in
            the second one; without a number it is the first line where the key stands.
    """

    name: str = ""
    table: Mapping[str, object] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """File, line and key path: `server.toml:3: ca_ttl`."""
        at, line = key, self.lines.get(key)
        while line is None and (holder := _LAST_STEP.sub("", at)) != at:  # inline: the line of what holds it
            at = holder
            line = self.lines.get(at)
        return f"{self.name}:{line}: {key}" if line else f"{self.name}: {key}"


def read_document(name: str, text: str) -> Document:
    """The document that a text is.

    Args:
        name: Of the file, for messages.
        text: TOML.

    Raises:
        DocumentError: It is no TOML, or nests deeper than anything that is meant.
    """
    import tomllib  # noqa: PLC0415 - many processes have no file

    if _DEEP.search(text):
        _check_keys(text)
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may be too long, which is no TOMLDecodeError
        match = _AT.search(str(error))
        message = str(error)[: match.start()].strip() if match else "it is no TOML"
        raise DocumentError(message, int(match[1]) if match else 0) from error
    _check_depth(table)
    lines: dict[str, int] = {}
    for key, line in _keys(text):
        lines.setdefault(key, line)
    return Document(name, table, lines)


def _check_keys(text: str) -> None:
    """Refuse a key that nests too deep before the reader sees it, whose time grows with the words squared."""
    for line, header, pair in _statements(text):
        found = header[2] if header is not None else pair[1] if pair is not None else ""
        if len(_WORDS.findall(found)) > _MAX_DEPTH:
            raise DocumentError(f"it nests deeper than {_MAX_DEPTH}", line)


def _check_depth(table: object) -> None:
    level = [table]
    for _ in range(_MAX_DEPTH):
        inside = [
            each.values() if isinstance(each, dict) else each
            for each in level
            if isinstance(each, dict | list)
        ]
        level = [each for holder in inside for each in holder]
    if any(isinstance(each, dict | list) for each in level):
        raise DocumentError(f"it nests deeper than {_MAX_DEPTH}", 0)


def _keys(text: str) -> Iterator[tuple[str, int]]:
    """Each key path and table with its line; the text is known to be TOML."""
    table, lists = "", dict[str, int]()
    for line, header, pair in _statements(text):
        if header is not None:
            table = _path(header[2])
            if header[1]:
                lists = {path: last for path, last in lists.items() if not path.startswith(f"{table}.")}
                lists[table] = lists.get(table, -1) + 1
            yield table, line
            yield _numbered(table, lists), line
        elif pair is not None:
            key = _path(pair[1])
            for holder in dict.fromkeys((table, _numbered(table, lists))):
                yield ".".join(filter(None, (holder, key))), line


def _statements(text: str) -> Iterator[tuple[int, re.Match[str] | None, re.Match[str] | None]]:
    """Where each statement begins, by its line, with the header or the key that it begins with."""
    at = 0
    while at < len(text):
        yield text.count("\n", 0, at) + 1, _HEADER.match(text, at), _PAIR.match(text, at)
        at = _end_of_statement(text, at)


def _numbered(table: str, lists: Mapping[str, int]) -> str:
    """The path of a table with the number of each list's table on the way that it is in."""
    plain = numbered = ""
    for word in table.split("."):
        plain = f"{plain}.{word}" if plain else word
        numbered = f"{numbered}.{word}" if numbered else word
        if plain in lists:
            numbered += f"[{lists[plain]}]"
    return numbered


def _path(key: str) -> str:
    return ".".join(word.strip("\"'") for word in _WORDS.findall(key))


def _end_of_statement(text: str, at: int) -> int:
    """Where the next line begins that does not continue this one."""
    depth = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        assert piece is not None
        at = piece.end()
        depth += (piece[0] in "[{") - (piece[0] in "]}")
        if piece[0] == "\n" and depth <= 0:
            break
    return at
