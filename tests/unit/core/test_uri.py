"""URIs are cut and put together as RFC 3986 says, with its own examples."""

from __future__ import annotations

import pytest

from finial.core import uri
from finial.core.uri import URI, Authority

BASE = URI("http", "a", "/b/c/d;p", "q")
# RFC 3986, sections 5.4.1 and 5.4.2.
EXAMPLES = {
    "g:h": "g:h",
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s",
    ";x": "http://a/b/c/;x",
    "g;x?y#s": "http://a/b/c/g;x?y#s",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "http:g": "http:g",
}


@pytest.mark.parametrize("reference", EXAMPLES)
def test_references_are_resolved(reference: str) -> None:
    parts = uri.cut(reference)
    assert parts is not None
    assert str(parts) == reference
    assert str(uri.resolved(BASE, parts)) == EXAMPLES[reference]


def test_a_base_without_path() -> None:
    g = URI(None, None, "g")
    assert str(uri.resolved(URI("http", "a", ""), g)) == "http://a/g"
    assert str(uri.resolved(URI("http", None, "x"), g)) == "http:g"


@pytest.mark.parametrize("text", ["a b", "a\n", "\u00e9", "%4", "%zz", "a\\b", '"', "<", "a\0"])
def test_what_has_no_place_in_a_uri(text: str) -> None:
    assert uri.cut(text) is None


@pytest.mark.parametrize(
    ("text", "authority"),
    [
        ("a", Authority(None, "a", None)),
        ("a:", Authority(None, "a", "")),
        ("a:80", Authority(None, "a", "80")),
        ("u:p@a:80", Authority("u:p", "a", "80")),
        ("@a", Authority("", "a", None)),
        ("", Authority(None, "", None)),
        ("[::1]:80", Authority(None, "[::1]", "80")),
        ("a:1:2", None),
        ("::1", None),
        ("[::1", None),
        ("a@b@c", None),
        ("[::1]x", None),
        ("a:[1]", None),
    ],
)
def test_authorities(text: str, authority: Authority | None) -> None:
    assert uri.cut_authority(text) == authority


def test_hosts() -> None:
    for host in ("127.0.0.1", "[::1]", "[2001:DB8::1]"):
        assert uri.ip_address(host) is not None
    for host in ("127.1", "127.0.0.01", "[127.0.0.1]", "::1", "[::1%25lo]", "a.test", ""):
        assert uri.ip_address(host) is None
    for host in ("a.test", "localhost", "a_b.x", "xn--a.test", "1.a", "a.1b", "0xa.test"):
        assert uri.is_name(host)
    for host in (
        "",
        "a..b",
        "a.",
        "*.test",
        "-a",
        "127.1",
        "127.0.0.01",
        "0x7f",
        "a.0x1",
        "a.7",
        "%41",
        "a b",
    ):
        assert not uri.is_name(host)


def test_ports() -> None:
    assert [uri.port_number(text) for text in ("1", "443", "65535", "00080")] == [1, 443, 65535, 80]
    for text in ("", "0", "65536", "99999", "100000", "+1", "1 ", "\u0661"):
        assert uri.port_number(text) is None


def test_percent_encoding() -> None:
    assert uri.decoded("/a%20b%C3%a9%00") == "/a bé\0".encode()
    assert uri.decoded("%2541") == b"%41"
