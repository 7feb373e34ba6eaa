"""Addresses of the Workload API."""

from __future__ import annotations

import pytest

from finial.core.endpoint import AddressError
from finial.rpc import Tcp, Unix
from finial.sdk.address import endpoint_address, parse_address


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:///run/agent.sock", "/run/agent.sock"),
        ("unix:/run/agent.sock", "/run/agent.sock"),
        ("UNIX:///run/agent.sock", "/run/agent.sock"),
        ("unix:////run/agent.sock", "//run/agent.sock"),
        ("unix:///run/a%20b%C3%A9.sock", "/run/a bé.sock"),
        ("unix:///" + "a" * 106, "/" + "a" * 106),
    ],
)
@pytest.mark.spec("EP-14", "EP-16", "EP-17")
def test_unix_addresses(text: str, path: str) -> None:
    assert parse_address(text) == Unix(path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:8000", Tcp("127.0.0.1", 8000)),
        ("tcp://[::1]:8000", Tcp("::1", 8000)),
        ("TCP://[2001:DB8::1]:65535", Tcp("2001:db8::1", 65535)),
        ("tcp://10.0.0.1:1", Tcp("10.0.0.1", 1)),
    ],
)
@pytest.mark.spec("EP-19", "EP-20", "EP-21")
def test_tcp_addresses(text: str, address: Tcp) -> None:
    assert parse_address(text) == address


def refused(text: str) -> str:
    with pytest.raises(AddressError) as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)
    return caught.value.reason.id


@pytest.mark.parametrize(
    "text",
    [
        "/tmp/agent.sock", "", "agent.sock", "://x", "1unix:///a", "unix", "unix:///a b", "unix:///a\n",
        "unix:///\u00e9", "unix:///%zz", "unix:///%4", "tcp://127.0.0.1:8000\n", "unix:///a\0b",
    ],
)  # fmt: skip
@pytest.mark.spec("EP-14")
def test_what_is_no_uri(text: str) -> None:
    assert refused(text) == "endpoint-uri"


@pytest.mark.parametrize(
    "text", ["http://127.0.0.1:80", "npipe:agent", "unixx:///a", "unix+x:/a", "dns:///a", "127.0.0.1:8000x"]
)
@pytest.mark.spec("EP-15")
def test_other_schemes(text: str) -> None:
    assert refused(text) in {"endpoint-scheme", "endpoint-uri"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("unix://host/path", "endpoint-unix-host", marks=pytest.mark.spec("EP-16")),
        pytest.param("unix://run/agent.sock", "endpoint-unix-host", marks=pytest.mark.spec("EP-16")),
        pytest.param("unix:relative.sock", "endpoint-unix-path", marks=pytest.mark.spec("EP-17")),
        pytest.param("unix:./a.sock", "endpoint-unix-path", marks=pytest.mark.spec("EP-17")),
        pytest.param("unix:", "endpoint-unix-path", marks=pytest.mark.spec("EP-17", "EP-18")),
        pytest.param("unix:///", "endpoint-unix-path", marks=pytest.mark.spec("EP-18")),
        pytest.param("unix://", "endpoint-unix-path", marks=pytest.mark.spec("EP-18")),
        pytest.param("unix:///a?x", "endpoint-surplus", marks=pytest.mark.spec("EP-18")),
        pytest.param("unix:///a?", "endpoint-surplus", marks=pytest.mark.spec("EP-18")),
        pytest.param("unix:///a#f", "endpoint-surplus", marks=pytest.mark.spec("EP-18")),
        pytest.param("unix://u@/a", "endpoint-surplus", marks=pytest.mark.spec("EP-18")),
        ("unix:///a%00b", "endpoint-unix-path"),
        ("unix:///" + "a" * 107, "endpoint-unix-path"),
        pytest.param("tcp://localhost:8000", "endpoint-tcp-host", marks=pytest.mark.spec("EP-19")),
        pytest.param("tcp://::1:8000", "endpoint-tcp-host", marks=pytest.mark.spec("EP-19")),
        pytest.param("tcp://[127.0.0.1]:8000", "endpoint-tcp-host", marks=pytest.mark.spec("EP-19")),
        pytest.param("tcp://127.1:8000", "endpoint-tcp-host", marks=pytest.mark.spec("EP-19")),
        pytest.param("tcp://127.0.0.01:8000", "endpoint-tcp-host", marks=pytest.mark.spec("EP-19")),
        pytest.param("tcp://:8000", "endpoint-tcp-host", marks=pytest.mark.spec("EP-19", "EP-21")),
        pytest.param("tcp:///a", "endpoint-tcp-host", marks=pytest.mark.spec("EP-21")),
        pytest.param("tcp:127.0.0.1:8000", "endpoint-tcp-host", marks=pytest.mark.spec("EP-21")),
        pytest.param("tcp://127.0.0.1", "endpoint-tcp-port", marks=pytest.mark.spec("EP-20")),
        pytest.param("tcp://127.0.0.1:", "endpoint-tcp-port", marks=pytest.mark.spec("EP-20")),
        pytest.param("tcp://127.0.0.1:0", "endpoint-tcp-port", marks=pytest.mark.spec("EP-20")),
        pytest.param("tcp://127.0.0.1:65536", "endpoint-tcp-port", marks=pytest.mark.spec("EP-20")),
        pytest.param("tcp://127.0.0.1:99999", "endpoint-tcp-port", marks=pytest.mark.spec("EP-20")),
        pytest.param("tcp://127.0.0.1:+80", "endpoint-tcp-port", marks=pytest.mark.spec("EP-20")),
        pytest.param("tcp://127.0.0.1:8000/foo", "endpoint-surplus", marks=pytest.mark.spec("EP-21")),
        pytest.param("tcp://127.0.0.1:8000/", "endpoint-surplus", marks=pytest.mark.spec("EP-21")),
        pytest.param("tcp://127.0.0.1:8000?x", "endpoint-surplus", marks=pytest.mark.spec("EP-21")),
        pytest.param("tcp://127.0.0.1:8000#f", "endpoint-surplus", marks=pytest.mark.spec("EP-21")),
        pytest.param("tcp://u@127.0.0.1:8000", "endpoint-surplus", marks=pytest.mark.spec("EP-21")),
    ],
)
def test_what_each_form_may_not_have(text: str, reason: str) -> None:
    assert refused(text) == reason


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(AddressError) as caught:
        parse_address("tcp://user:secret@127.0.0.1:8000")
    assert "secret" not in str(caught.value) + caught.value.subject


@pytest.mark.spec("EP-12", "EP-13")
def test_what_is_configured_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"SPIFFE_ENDPOINT_SOCKET": "unix:///from/environment"}
    assert endpoint_address("unix:///given", environment) == Unix("/given")
    assert endpoint_address(None, environment) == Unix("/from/environment")
    monkeypatch.setenv("SPIFFE_ENDPOINT_SOCKET", "tcp://127.0.0.1:1")
    assert endpoint_address() == Tcp("127.0.0.1", 1)


@pytest.mark.spec("EP-13")
@pytest.mark.parametrize("environment", [{}, {"SPIFFE_ENDPOINT_SOCKET": ""}])
def test_without_any_address_the_error_says_what_to_set(environment: dict[str, str]) -> None:
    with pytest.raises(AddressError, match="SPIFFE_ENDPOINT_SOCKET is not set") as caught:
        endpoint_address(None, environment)
    assert "unix:///absolute/path.sock" in caught.value.reason.hint


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    with pytest.raises(AddressError, match=r"^SPIFFE_ENDPOINT_SOCKET: .*'/tmp/a.sock' is no URI"):
        endpoint_address(None, {"SPIFFE_ENDPOINT_SOCKET": "/tmp/a.sock"})


def test_an_empty_configured_address_does_not_fall_back() -> None:
    with pytest.raises(AddressError, match="is no URI"):
        endpoint_address("", {"SPIFFE_ENDPOINT_SOCKET": "unix:///a"})
