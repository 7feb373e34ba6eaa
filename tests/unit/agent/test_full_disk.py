"""A disk without room: an agent goes on with what it has, and stores it when there is room again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from unittest import mock

import pytest

from finial.agent import app
from finial.runtime import files
from support.agent_world import ME, World, agent, joined, stream, world
from support.rpc import run

LIFE = timedelta(seconds=30)
MACHINE = "spiffe://example.org/spire/agent/mine/machine-1"


class Machine:
    """A node that can attest as often as it likes."""

    async def payload(self) -> bytes:
        return b"machine-1"

    async def respond(self, challenge: bytes) -> bytes:
        raise AssertionError(challenge)


@contextmanager
def full_disk() -> Iterator[mock.Mock]:
    """While this lasts no file can be written; how often that was tried."""

    def refuse(path: Path, data: bytes, mode: int = 0o600) -> None:
        raise files.failed("write", path, OSError(28, "No space left on device"))

    with mock.patch.object(files, "write", side_effect=refuse) as tried:
        yield tried


def _identity(w: World) -> bytes:
    return (w.folder / "agent/private/identity.json").read_bytes()


def test_a_renewal_waits_for_room_and_is_asked_for_once() -> None:
    async def main() -> None:
        async with world(agent_ttl=LIFE) as w, joined(w) as running:
            before = _identity(w)
            with full_disk() as tried:
                await w.eventually(lambda: tried.call_count > 2)
                w.server.prepare()  # neither does a bundle that cannot be kept end anything
                for _ in range(8):
                    await w.tick()
            assert _identity(w) == before
            await w.eventually(lambda: _identity(w) != before)
            # A second one would have made the server forget the first, which the disk might have taken.
            assert w.server.calls["RenewAgent"] == 1
            await w.eventually(lambda: (w.folder / "agent/bundle.json").read_text().count("x5c") == 2)
            assert not running.ended

    run(main())


def test_room_that_comes_shortly_before_the_end_comes_in_time() -> None:
    async def main() -> None:
        async with world(agent_ttl=LIFE) as w, joined(w) as running:
            before, end = _identity(w), w.clock.now() + LIFE
            with full_disk():
                while w.clock.now() < end - timedelta(seconds=2):
                    await w.tick()
            await w.eventually(lambda: _identity(w) != before)
            assert w.clock.now() < end
            assert not running.ended

    run(main())


def test_a_node_that_can_attest_again_goes_on_without_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "load", lambda group, name, table, context: Machine())

    async def main() -> None:
        async with world(agent_ttl=LIFE, reattestable=True) as w, agent(w, node_attestor="mine") as running:
            w.server.add("e1", "/web", ME)
            await running.synced()
            async with stream(w, running) as workload:
                await workload.next()
                before = _identity(w)
                with full_disk():
                    await w.eventually(lambda: w.server.nodes[MACHINE].attested > 3)
                    assert _identity(w) == before
                    calls = w.server.calls["SyncAuthorizedEntries"]
                    await w.eventually(lambda: w.server.calls["SyncAuthorizedEntries"] > calls + 2)
                assert not running.ended
                await w.eventually(lambda: _identity(w) != before)

    run(main())


def test_a_token_is_not_used_up_where_nothing_can_be_written() -> None:
    async def main() -> None:
        async with world() as w:
            with full_disk():
                async with agent(w, join_token=w.server.token()) as running:
                    error = await running.end()
                    assert error.reason is files.failed("", Path(), OSError()).reason
            assert w.server.calls["AttestAgent"] == 0

    run(main())
