"""URIs cut into their parts, as RFC 3986 cuts them: nothing is decoded, folded or looked up."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from finial.core import dns

_PARTS = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?"
)
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_AUTHORITY = re.compile(
    r"(?:(?P<userinfo>[^@]*)@)?(?P<host>\[[^\[\]@]*\]|[^:\[\]@]*)(?::(?P<port>[^:@\[\]]*))?"
)
_PORT = re.compile(r"[0-9]{1,5}")
_LARGEST_PORT = 65_535
# What resolvers take for an address in an odd spelling: 127.1, 0x7f.1.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class URI:
    """A URI, or a reference to one that begins somewhere in its middle.

    Args:
        scheme: As it is written; None where there is none.
        authority: What stands behind two slashes; None where there are none.
        path: May be empty.
        query: What stands behind `?`; None where there is none.
        fragment: What stands behind `#`; None where there is none.
    """

    scheme: str | None
    authority: str | None
    path: str
    query: str | None = None
    fragment: str | None = None

    def __str__(self) -> str:
        scheme = "" if self.scheme is None else f"{self.scheme}:"
        authority = "" if self.authority is None else f"//{self.authority}"
        query = "" if self.query is None else f"?{self.query}"
        fragment = "" if self.fragment is None else f"#{self.fragment}"
        return f"{scheme}{authority}{self.path}{query}{fragment}"


@dataclass(frozen=True, slots=True)
class Authority:
    """The authority of a URI.

    Args:
        userinfo: What stands before `@`; None where there is no `@`. It may be a password.
        host: As it is written; an IPv6 literal has its brackets.
        port: What stands behind `:`, perhaps nothing; None where there is no `:`.
    """

    userinfo: str | None
    host: str
    port: str | None


def cut(text: str) -> URI | None:
    """The parts of a URI or of a reference to one; None when a character in it has no place in a URI."""
    match = _PARTS.fullmatch(text) if _CHARACTERS.fullmatch(text) else None
    if match is None:
        return None
    return URI(match["scheme"], match["authority"], match["path"], match["query"], match["fragment"])


def cut_authority(text: str) -> Authority | None:
    """The parts of an authority; None when it has none, or more than one way to read it."""
    match = _AUTHORITY.fullmatch(text)
    return None if match is None else Authority(match["userinfo"], match["host"], match["port"])


def ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is, in the one spelling that a URI has for it; None when it is none."""
    try:
        if host.startswith("[") and "%" not in host:  # which would name an interface
            return ipaddress.IPv6Address(host[1:-1])
        return ipaddress.IPv4Address(host)
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """Whether a host is a DNS name, and nothing that some resolver takes for an IP address."""
    return not dns.fault(host) and "*" not in host and not _NUMBER.fullmatch(host.rpartition(".")[2])


def port_number(text: str) -> int | None:
    """The port that some digits say; None when it is none."""
    number = int(text) if _PORT.fullmatch(text) else 0
    return number if 1 <= number <= _LARGEST_PORT else None


def decoded(text: str) -> bytes:
    """What a percent-encoded part of a URI stands for."""
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), text.encode("utf-8"))


def resolved(base: URI, reference: URI) -> URI:
    """The URI that a reference means, seen from another one; as strict as RFC 3986, section 5.2.2.

    Args:
        base: Has a scheme.
        reference: Anything.
    """
    if reference.scheme is not None:
        return URI(
            reference.scheme,
            reference.authority,
            _without_dots(reference.path),
            reference.query,
            reference.fragment,
        )
    if reference.authority is not None:
        path = _without_dots(reference.path)
        return URI(base.scheme, reference.authority, path, reference.query, reference.fragment)
    if not reference.path:
        query = base.query if reference.query is None else reference.query
        return URI(base.scheme, base.authority, base.path, query, reference.fragment)
    path = reference.path if reference.path.startswith("/") else _merged(base, reference.path)
    return URI(base.scheme, base.authority, _without_dots(path), reference.query, reference.fragment)


def _merged(base: URI, path: str) -> str:
    if base.authority is not None and not base.path:
        return f"/{path}"
    return f"{base.path.rpartition('/')[0]}/{path}" if "/" in base.path else path


def _without_dots(path: str) -> str:
    """A path whose segments `.` and `..` have been walked."""
    kept: list[str] = []
    segments = path.split("/")
    for at, segment in enumerate(segments):
        last = at == len(segments) - 1
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
            kept += [""] if last else []
        elif segment == ".":
            kept += [""] if last else []
        else:
            kept.append(segment)
    return "/".join(kept)
