from __future__ import annotations

import pytest

from finial.core.errors import CarriageError
from finial.core.target import MAX_TARGET_BYTES, Target, check_bearer_target


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("https://a.test", "https://a.test/"),
        ("https://a.test/", "https://a.test/"),
        ("HTTPS://A.Test:443/B?c#d", "https://a.test/B"),
        ("https://a.test?x=/y", "https://a.test/"),
        ("https://a.test#x", "https://a.test/"),
        ("https://a.test:8443/a/%2F;x=1/@!$&'()*+,", "https://a.test:8443/a/%2F;x=1/@!$&'()*+,"),
        ("http://a.test:80/", "http://a.test/"),
        ("http://a.test:443/", "http://a.test:443/"),
        ("https://[2001:DB8::1]:443/x", "https://[2001:db8::1]/x"),
        ("grpc://a.test:1/", "grpc://a.test:1/"),
    ],
)
def test_targets(uri: str, wanted: str) -> None:
    assert Target(uri).uri == wanted
    assert Target(uri) == Target(wanted)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "a.test",
        "/path",
        "https:",
        "https://",
        "https:///x",
        "https://user@a.test/",
        "https://user:secret@a.test/",
        "https://a.test:x/",
        "https://a.test:123456/",
        "https://a.test:65536/",
        "https://a.test:0/",
        "https://[:]/",
        "https://[127.0.0.1]/",
        "https://a.test/ x",
        "https://a.test/x\n",
        "https://a.test/ä",
        "https://ä.test/",
        "https://a.test\\x",
        " https://a.test/",
        "https://" + "a" * MAX_TARGET_BYTES,
    ],
)
def test_what_is_no_target(uri: str) -> None:
    with pytest.raises(CarriageError) as caught:
        Target(uri)
    assert caught.value.reason.id == "target-form"


@pytest.mark.parametrize(
    "uri",
    [
        "https:///x?access_token=secret",
        "https:///x#access_token=secret",
        "https://user:secret@a.test/",
        "https://secret@a.test/",
    ],
)
def test_what_may_be_secret_is_not_quoted(uri: str) -> None:
    with pytest.raises(CarriageError) as caught:
        Target(uri)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "https://a.test/",
        "http://localhost:80/",
        "http://127.0.0.1/",
        "http://127.9.9.9:8080/x",
        "http://[::1]/",
    ],
)
def test_where_a_bearer_token_may_go(uri: str) -> None:
    check_bearer_target(uri)


@pytest.mark.parametrize(
    "uri", ["http://a.test/", "http://10.0.0.1/", "http://localhost.a.test/", "http://[::]/", "ws://a.test/"]
)
def test_where_it_may_not_go(uri: str) -> None:
    with pytest.raises(CarriageError) as caught:
        check_bearer_target(uri)
    assert caught.value.reason.id == "target-plain"
