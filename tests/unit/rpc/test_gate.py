"""How many connections a listener keeps, at all and of one address."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest

from finial.rpc import LOCAL, Channel, Limits, RpcError, Server, StatusCode, Tcp
from finial.rpc.gate import Gate
from finial.rpc.peer import site_of
from support.raw import GREETING
from support.rpc import ECHO, ENGINES, Service, eventually, run


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%lo", "fe80::/64"),
        ("no:address", "no:address"),
        ("gone", "gone"),
    ],
)
def test_the_site_of_a_peer(host: str, site: str) -> None:
    assert site_of(host) == site


@pytest.mark.parametrize("engine", ENGINES)
def test_one_address_does_not_get_all_places(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        service, limits = Service(), Limits(max_connections_per_address=2)
        async with (
            Server(service.routes(), engine=engine, limits=limits) as server,
            AsyncExitStack() as stack,
        ):
            address = await server.listen(Tcp("127.0.0.1", 0))
            assert isinstance(address, Tcp)
            both = [await stack.enter_async_context(Channel(address, engine=engine)) for _ in range(2)]
            for each in both:
                assert await each.unary(ECHO, b"x") == b"x"
            async with Channel(address, engine=engine) as third:
                for _ in range(3):
                    with pytest.raises(RpcError, match="cannot connect") as refused:
                        await third.unary(ECHO, b"x")
                    assert refused.value.code is StatusCode.UNAVAILABLE
                assert await _greeted(address, "127.0.0.2") != b""
                assert await both[0].unary(ECHO, b"on") == b"on"
                await both[1].close()
                await eventually(lambda: len(server._connections) == 1)
                assert await third.unary(ECHO, b"y") == b"y"
        assert not server._connections

    with caplog.at_level(logging.INFO, "finial.rpc"):
        run(main())
    (record,) = caplog.records
    assert record.message.startswith("closed new connections at once: 3, the last from 127.0.0.1:")
    assert record.message.endswith(": 127.0.0.1 has 2 already")


async def _greeted(address: Tcp, local: str) -> bytes:
    """What a server says to a client that connects from another address."""
    reader, writer = await asyncio.open_connection(address.host, address.port, local_addr=(local, 0))
    writer.write(GREETING)
    said = await reader.read(1)
    writer.close()
    return said


def test_places_come_back() -> None:
    gate = Gate(Limits(max_connections=3, max_connections_per_address=2, max_handshakes=10))
    assert gate.enter("a", "1")
    assert gate.enter("a", "1")
    gate.leave("1")
    gate.leave("1")
    assert gate._sites == {}
    for site in ("1", "2", "3"):
        assert gate.enter("b", site)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(max_connections=1), "1 are open already"),
        (Limits(max_handshakes=1), "1 are still in their handshake"),
        (Limits(max_connections_per_address=1), "1.2.3.4 has 1 already"),
    ],
)
def test_the_log_is_told_of_all_who_are_refused_and_once_a_second(
    limits: Limits, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finial.rpc.gate._PERIOD_SECONDS", 0.01)

    async def main() -> None:
        gate = Gate(limits)
        assert gate.enter("first", "1.2.3.4")
        gate.report()  # of nobody
        for number in range(1_000):
            assert not gate.enter(f"1.2.3.4:{number}", "1.2.3.4")
        await eventually(lambda: gate._timer is None)
        assert not gate.enter("late", "1.2.3.4")
        gate.report()

    with caplog.at_level(logging.INFO, "finial.rpc"):
        run(main())
    assert caplog.messages == [
        f"closed new connections at once: 1000, the last from 1.2.3.4:999: {why}",
        f"closed new connections at once: 1, the last from late: {why}",
    ]


def test_local_peers_count_alike() -> None:
    gate = Gate(LOCAL)
    for _ in range(LOCAL.max_connections_per_address + 1):
        assert gate.enter("a local process", None)
        gate.shaken()
    gate.leave(None)
