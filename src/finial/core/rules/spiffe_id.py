"""The rules of a SPIFFE ID's text.

The constructors in `finial.core.ids` accept by one compiled expression, because every call of every
workload passes there. This table says what is wrong with whatever that expression does not accept; a
property test holds the two together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from finial.core.errors import shown
from finial.core.reasons import identity as reasons
from finial.core.rules.engine import Rule, Table

SCHEME = "spiffe://"
MAX_ID_BYTES = 2048
MAX_TRUST_DOMAIN_BYTES = 255
NAME_CHARACTERS = "a-z0-9._-"
SEGMENT_CHARACTERS = "A-Za-z0-9._-"

_NOT_NAME = re.compile(f"[^A-Z{NAME_CHARACTERS}]")
_NOT_SEGMENT = re.compile(f"[^{SEGMENT_CHARACTERS}]")
_AUTHORITY_END = re.compile(r"[/?#]")
_PATH_END = re.compile(r"[?#]")


@dataclass(frozen=True, slots=True)
class IDText:
    """A claimed ID cut at the delimiters of a URI, nothing decoded and nothing folded.

    Args:
        text: The whole.
        scheme: Whether it begins as it has to; without that the rest is not looked at.
        userinfo: What stands before `@` in the authority; None where there is no `@`.
        name: The trust domain name.
        port: What stands after `:`; None where there is no `:`.
        path: With its leading slash, or empty.
        rest: From the first `?` or `#` on, or empty.
    """

    text: str
    scheme: bool
    userinfo: str | None = None
    name: str = ""
    port: str | None = None
    path: str = ""
    rest: str = ""


def cut(text: str) -> IDText:
    """The parts of a claimed ID; never raises."""
    if not text.startswith(SCHEME):
        return IDText(text, scheme=False)
    after = text[len(SCHEME) :]
    end = _AUTHORITY_END.search(after)
    authority, tail = (after, "") if end is None else (after[: end.start()], after[end.start() :])
    path_end = _PATH_END.search(tail)
    path, rest = (tail, "") if path_end is None else (tail[: path_end.start()], tail[path_end.start() :])
    userinfo, at, host = authority.rpartition("@")
    # An IPv6 literal holds colons of its own; it is judged as a name, by its brackets.
    name, colon, port = (host, "", "") if host.startswith("[") else host.partition(":")
    return IDText(
        text,
        scheme=True,
        userinfo=userinfo if at else None,
        name=name,
        port=port if colon else None,
        path=path,
        rest=rest,
    )


def of_name(name: str) -> IDText:
    """A bare trust domain name, to be judged by the same table."""
    return IDText(SCHEME + name, scheme=True, name=name)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _scheme(parts: IDText) -> str:
    return "" if parts.scheme else f"{shown(parts.text)} does not begin with {SCHEME}"


def _long(parts: IDText) -> str:
    size = _bytes(parts.text)
    return "" if size <= MAX_ID_BYTES else f"the ID has {size} bytes, at most {MAX_ID_BYTES} are allowed"


def _userinfo(parts: IDText) -> str:
    return "" if parts.userinfo is None else f"user information {shown(parts.userinfo)} in the authority"


def _port(parts: IDText) -> str:
    return "" if parts.port is None else f"port {shown(parts.port)} in the authority"


def _name_empty(parts: IDText) -> str:
    return "" if parts.name or not parts.scheme else "the trust domain name is empty"


def _name_long(parts: IDText) -> str:
    size = _bytes(parts.name)
    over = size > MAX_TRUST_DOMAIN_BYTES
    return f"the trust domain name has {size} bytes, at most {MAX_TRUST_DOMAIN_BYTES} are allowed" * over


def _name_case(parts: IDText) -> str:
    upper = re.search("[A-Z]", parts.name)
    return f"upper case {upper[0]!r} in trust domain name {shown(parts.name)}" if upper else ""


def _name_characters(parts: IDText) -> str:
    bad = _NOT_NAME.search(parts.name)
    return f"character {shown(bad[0])} in trust domain name {shown(parts.name)}" if bad else ""


def _query(parts: IDText) -> str:
    return "a query follows the path" if parts.rest.startswith("?") else ""


def _fragment(parts: IDText) -> str:
    return "a fragment follows the path" if "#" in parts.rest else ""


def _trailing_slash(parts: IDText) -> str:
    return "the path ends with a slash" if parts.path.endswith("/") else ""


def _empty_segment(parts: IDText) -> str:
    return "the path has an empty segment" if "//" in parts.path else ""


def _dots(parts: IDText) -> str:
    dots = {".", ".."}.intersection(parts.path.split("/"))
    return f"the path has the segment {min(dots)!r}" if dots else ""


def _segment_characters(parts: IDText) -> str:
    bad = _NOT_SEGMENT.search(parts.path.replace("/", ""))
    return f"character {shown(bad[0])} in the path" if bad else ""


TABLE = Table(
    "SPIFFE ID",
    (
        Rule(reasons.ID_SCHEME, _scheme),
        Rule(reasons.ID_LONG, _long),
        Rule(reasons.ID_USER_INFO, _userinfo),
        Rule(reasons.ID_PORT, _port),
        Rule(reasons.ID_NAME_EMPTY, _name_empty),
        Rule(reasons.ID_NAME_LONG, _name_long),
        Rule(reasons.ID_NAME_CASE, _name_case),
        Rule(reasons.ID_NAME_CHARACTERS, _name_characters),
        Rule(reasons.ID_QUERY, _query),
        Rule(reasons.ID_FRAGMENT, _fragment),
        Rule(reasons.ID_TRAILING_SLASH, _trailing_slash),
        Rule(reasons.ID_EMPTY_SEGMENT, _empty_segment),
        Rule(reasons.ID_DOT_SEGMENT, _dots),
        Rule(reasons.ID_PATH_CHARACTERS, _segment_characters),
    ),
)
