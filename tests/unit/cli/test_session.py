from __future__ import annotations

from pathlib import Path

import pytest

from finial.cli.session import CallError, UnreachableError, worded
from finial.core.errors import FinialError
from finial.core.reasons import registry
from finial.rpc import RpcError, StatusCode
from finial.wire.gen import grpc_health_v1 as health
from finial.wire.status import error_from
from support.admin import FakeServer, Finial


@pytest.mark.parametrize("process", ["server", "agent"])
def test_a_process_that_is_not_there_is_named_with_its_socket(
    process: str, finial: Finial, tmp_path: Path
) -> None:
    path = tmp_path / "absent.sock"
    found = finial(process, "healthcheck", "--socket", path)
    assert found.code == 1
    assert found.err == (
        f"finial: error: cannot reach the {process} at unix:{path}: No such file or directory. "
        f"Start it with `finial {process} run`, or name its socket with --socket.\n"
    )


def test_a_socket_that_cannot_be_opened_is_named_with_the_way_out(finial: Finial, tmp_path: Path) -> None:
    found = finial("server", "healthcheck", "--socket", tmp_path / ("x" * 108))
    assert found.err.endswith(
        "AF_UNIX path too long. Name it by a shorter path, for instance a relative one.\n"
    )
    closed = RpcError(
        StatusCode.UNAVAILABLE, "cannot connect to unix:/s: Permission denied", unprocessed=True
    )
    assert worded(closed, "server", "unix:/s").reason.id == "socket-forbidden"


def test_a_refusal_is_told_in_the_words_of_the_server(server: FakeServer, finial: Finial) -> None:
    server.answers["CountEntries"] = RpcError(StatusCode.INVALID_ARGUMENT, "malformed parent ID filter")
    found = finial("server", "entry", "count", "--socket", server.socket)
    assert (found.code, found.err) == (1, "finial: error: malformed parent ID filter\n")


def test_the_hint_of_a_known_reason_comes_along() -> None:
    told = worded(error_from(FinialError(registry.ENTRY_TTL, "no ttl")), "server", "unix:/s")
    assert isinstance(told, CallError)
    assert told.reason is registry.ENTRY_TTL


def test_the_other_failures() -> None:
    late = worded(RpcError(StatusCode.DEADLINE_EXCEEDED, "the deadline passed"), "server", "unix:/s")
    assert isinstance(late, UnreachableError)
    assert late.message == "the server at unix:/s did not answer in time"
    silent = worded(RpcError(StatusCode.INTERNAL, ""), "server", "unix:/s")
    assert silent.message == "INTERNAL"
    busy = worded(RpcError(StatusCode.UNAVAILABLE, "later"), "server", "unix:/s")
    assert isinstance(busy, CallError)


@pytest.mark.parametrize("process", ["server", "agent"])
def test_health_is_told(process: str, server: FakeServer, finial: Finial) -> None:
    serving = health.HealthCheckResponse(status=health.HealthCheckResponse.SERVING)
    server.answers["Check"] = lambda _request: serving
    found = finial(process, "healthcheck", "--socket", server.socket)
    assert (found.code, found.out) == (0, f"The {process} serves\n")
    assert server.one("Check") == health.HealthCheckRequest()
    server.answers["Check"] = lambda _request: health.HealthCheckResponse()
    found = finial(process, "healthcheck", "-socketPath", server.socket)
    assert found.code == 1
    assert found.err == (
        f"finial: error: the {process} at {server.socket} runs, and does not serve. Look into its log.\n"
    )
