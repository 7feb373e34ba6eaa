"""Addresses: of bundle endpoints, where their redirects lead, and of the endpoints that workloads go to."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
from urllib.parse import urljoin, urlsplit

from finial.core.endpoint import AddressError, TcpEndpoint, parse_endpoint
from finial.core.errors import FederationError
from finial.core.federation import EndpointURL
from fuzz.target import Target, refused_well

_BASES = ("https://b.test:8443/a/b/c?d", "https://b.test")
_PIECES = [
    "https://", "http://", "HTTPS:", "unix:", "tcp:", "//", "/", "?", "#", "@", ":", ".", "..", "/../", "/./",
    "a.test", "127.0.0.1", "127.1", "[::1]", "[", "]", "%41", "%", "443", "0", "65536", "u:p", "x", " ", "\n",
    "\u212a", "\\", ";", "*", "a" * 300, "run/a.sock",
]  # fmt: skip
_SECRET = "p4ss"


def check(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    _endpoint_url(text)
    for base in _BASES:
        _redirect(base, text)
    for names in (False, True):
        try:
            found = parse_endpoint(text, names=names)
        except AddressError as refused:
            assert str(refused).isprintable()
            continue
        if isinstance(found, TcpEndpoint):
            assert 1 <= found.port <= 65535
            assert found.host
        else:
            assert found.path.startswith(b"/")
            assert b"\0" not in found.path


def _endpoint_url(text: str) -> None:
    try:
        url = EndpointURL(text)
    except FederationError as refused:
        refused_well(refused)
        _keeps_secrets(text, refused)
        return
    # Another reader of URLs sees the same host, the same port, and no user.
    other = urlsplit(text)
    assert other.scheme == "https"
    assert "@" not in other.netloc
    assert (other.port or 443) == url.port
    assert (other.hostname or "").strip("[]").lower() in {
        url.host,
        text.lower().partition("[")[2].partition("]")[0],
    }
    assert url.target.startswith("/")
    assert "#" not in url.target


def _redirect(base: str, text: str) -> None:
    try:
        target = EndpointURL(base).leads_to(text)
    except FederationError as refused:
        refused_well(refused)
        _keeps_secrets(text, refused)
        return
    assert urlsplit(target.text).netloc == urlsplit(urljoin(base, text)).netloc


def _keeps_secrets(text: str, refused: FederationError) -> None:
    if f"//u:{_SECRET}@" in text and text.count(_SECRET) == 1:
        assert _SECRET not in f"{refused} {refused.subject}"


def corpus() -> list[bytes]:
    texts = [
        "https://b.test", "https://b.test:8443/a/b?c=d#e", f"https://u:{_SECRET}@b.test", "https://[::1]:1/",
        "../x", "//c.test/x", "?y", "unix:///run/a.sock", "unix:///a%00b", "unix:a",
        "x", "tcp://127.0.0.1:8000", "tcp://[::1]:1",
    ]  # fmt: skip
    return [text.encode() for text in texts]


def generate(source: random.Random) -> bytes:
    start = source.choice(["https://", "https://b.test", "", "unix://", "tcp://", "//"])
    text = start + "".join(source.choice(_PIECES) for _ in range(source.randint(0, 8)))
    return text.encode("utf-8", "surrogatepass")


_PARSER = ("finial.core.uri", "finial.core.endpoint", "finial.core.federation")
_OMITS = (
    "EndpointURL.__str__", "HTTPSWeb", "HTTPSSPIFFE", "Relationship", "read_relationship", "verification",
    "endpoint_chain",
)  # fmt: skip
TARGET = Target("addresses", corpus, check, generate, modules=_PARSER, omits=_OMITS)
