"""Addresses of endpoints: what a Broker Endpoint's may be that a Workload Endpoint's may not."""

from __future__ import annotations

import pytest

from finial.core.endpoint import AddressError, TcpEndpoint, UnixEndpoint, parse_endpoint


def refused(text: str, *, names: bool = True) -> str:
    with pytest.raises(AddressError) as caught:
        parse_endpoint(text, names=names)
    assert "\n" not in str(caught.value)
    return caught.value.reason.id


@pytest.mark.parametrize("names", [True, False])
def test_forms_of_both(names: bool) -> None:
    assert parse_endpoint("unix:///run/a%20b", names=names) == UnixEndpoint(b"/run/a b")
    assert parse_endpoint("tcp://[2001:DB8::1]:8000", names=names) == TcpEndpoint("2001:db8::1", 8000)


def test_names_are_for_those_who_look_them_up() -> None:
    assert parse_endpoint("tcp://Broker.example.com:8443", names=True) == TcpEndpoint(
        "Broker.example.com", 8443
    )
    assert refused("tcp://broker.example.com:8443", names=False) == "endpoint-tcp-host"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/run/broker.sock", "endpoint-uri"),
        ("unix:///a b", "endpoint-uri"),
        ("http://a:1", "endpoint-scheme"),
        ("tcp://u:secret@a:1", "endpoint-surplus"),
        ("tcp://a:1?q", "endpoint-surplus"),
        ("unix:///a#f", "endpoint-surplus"),
        ("tcp://a:1/", "endpoint-surplus"),
        ("unix://a/b", "endpoint-unix-host"),
        ("unix:", "endpoint-unix-path"),
        ("unix:a", "endpoint-unix-path"),
        ("unix:///a%00", "endpoint-unix-path"),
        ("unix:///" + "a" * 107, "endpoint-unix-path"),
        ("tcp:a:1", "endpoint-tcp-host"),
        ("tcp://a:b:1", "endpoint-tcp-host"),
        ("tcp://127.1:1", "endpoint-tcp-host"),
        ("tcp://a..b:1", "endpoint-tcp-host"),
        ("tcp://a", "endpoint-tcp-port"),
        ("tcp://a:0", "endpoint-tcp-port"),
    ],
)
def test_what_no_address_is(text: str, reason: str) -> None:
    assert refused(text) == reason
    assert refused(text, names=False) in {reason, "endpoint-tcp-host"}
