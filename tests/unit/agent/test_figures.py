"""The figures of a running agent, as somebody fetches them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from finial.rpc import Tcp
from support.agent_world import ME, World, agent, joined, world
from support.jwt_calls import workload
from support.rpc import run

ANYWHERE = Tcp("127.0.0.1", 0)


def port(caplog: pytest.LogCaptureFixture) -> int:
    """Where figures are served."""
    (record,) = [each for each in caplog.records if each.message == "figures served"]
    found = record.finial_fields["port"]  # type: ignore[attr-defined]
    assert isinstance(found, int)
    return found


async def fetch(w: World, at: int, path: str) -> tuple[int, str]:
    """Status and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    head, _, body = (await w.within(reader.read())).decode().partition("\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


async def figures(w: World, at: int) -> dict[str, float]:
    status, body = await fetch(w, at, "/metrics")
    assert status == 200
    lines = [line.split() for line in body.splitlines() if not line.startswith("#")]
    return {name.removeprefix("finial_agent_"): float(value) for name, value in lines}


def test_figures_of_tokens(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME)
            async with joined(w, metrics_bind=ANYWHERE) as running, workload(w, running) as me:
                for audience in ("a", "b", "a", "a"):
                    await me.fetch(audience)
                found = await figures(w, port(caplog))
                assert found["jwt_svids"] == 2
                assert found["jwt_svids_bytes"] == 2 * 2_048
                fetched = 'jwt_svids_fetched_total{from="%s"}'
                assert [found[fetched % source] for source in ("cache", "server")] == [2, 2]

    caplog.set_level("INFO", "finial.agent")
    run(main())


def test_figures_of_an_agent_that_is_pushed_to(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world(pushes=True) as w:
            w.server.add("e1", "/web", ME)
            w.server.add("e2", "/none")  # of no use, so not counted
            async with joined(w, metrics_bind=ANYWHERE):
                await w.eventually(lambda: bool(w.server.batches))
                found = await figures(w, port(caplog))
                assert found["entries"] == 1
                assert found["svids"] == 1
                assert found["pushed"] == 1
                assert found["mismatches_total"] == 0
                left = found["svid_end_timestamp_seconds"] - w.clock.now().timestamp()
                assert 3_500 < left <= 3_600
                assert found["heard_seconds"] < 5
                await w.server.push.last.send(number=2, state=w.server.push.state(), gone=["e1"])
                await w.eventually(lambda: len(w.server.push.streams) == 2)
                assert (await figures(w, port(caplog)))["mismatches_total"] == 1
                await w.server.stop()
                await w.pass_time(timedelta(seconds=20))
                found = await figures(w, port(caplog))
                assert found["pushed"] == 0
                assert found["heard_seconds"] >= 20

    caplog.set_level("INFO", "finial.agent")
    run(main())


def test_figures_of_an_agent_that_polls(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world() as w, joined(w, metrics_bind=ANYWHERE):
            found = await figures(w, port(caplog))
            assert found["pushed"] == found["entries"] == found["svids"] == 0
            assert found["heard_seconds"] < 6
            assert found["svid_end_timestamp_seconds"] != found["svid_end_timestamp_seconds"]

    caplog.set_level("INFO", "finial.agent")
    run(main())


def test_an_agent_is_ready_when_it_knows_its_entries(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.gate.clear()
            async with agent(w, metrics_bind=ANYWHERE, join_token=w.server.token()) as running:
                await w.eventually(lambda: "figures served" in caplog.text)
                assert (await fetch(w, port(caplog), "/live"))[0] == 200
                assert (await fetch(w, port(caplog), "/ready"))[0] == 503
                found = await figures(w, port(caplog))
                assert found["heard_seconds"] != found["heard_seconds"]  # never
                w.server.gate.set()
                await running.synced()
                assert (await fetch(w, port(caplog), "/ready"))[0] == 200

    caplog.set_level("INFO", "finial.agent")
    run(main())
