from __future__ import annotations

from functools import partial

import pytest

from finial.rpc import bidi, client_stream, guarded, server_stream, unary
from finial.rpc.engine import EngineRole, engine_kind, engine_names
from finial.rpc.engine_h2 import H2Engine
from finial.rpc.limits import Limits
from support.rpc import CHAT, COUNT, ECHO, SUM, Service


def test_a_route_fits_its_method() -> None:
    service = Service()
    assert unary(ECHO, service.echo).plain
    assert not unary(ECHO, service.echo_later).plain
    with pytest.raises(ValueError, match="Chat is a bidi method, not unary"):
        unary(CHAT, service.echo)
    with pytest.raises(ValueError, match="has to be an `async def`"):
        bidi(CHAT, partial(service.echo, b""))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Chat is a bidi method, not unary"):
        guarded(CHAT, service.sum)
    with pytest.raises(ValueError, match="has to be an `async def`"):
        guarded(ECHO, partial(service.echo, b""))  # type: ignore[arg-type]
    assert guarded(ECHO, service.sum).guarded
    assert server_stream(COUNT, service.count).method is COUNT
    assert client_stream(SUM, service.sum).method is SUM


def test_engines_are_named() -> None:
    assert engine_names() == ("ngh2", "h2")
    with pytest.raises(ValueError, match="no HTTP/2 engine is called 'quic'"):
        engine_kind("quic", EngineRole(client=True, limits=Limits()))


def test_without_ngh2_the_best_engine_is_h2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finial.rpc.engine.find_spec", lambda name: None)
    assert engine_names() == ("h2",)
    kind = engine_kind("auto", EngineRole(client=True, limits=Limits()))
    assert isinstance(kind.make, partial)
    assert kind.make.func is H2Engine
