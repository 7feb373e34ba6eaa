"""How far an entry has come, as operators see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.admin import FakeServer, Finial, Outcome
from support.authority_world import AuthorityServer, Delivery, authority_server
from support.server_store import an_entry

Run = Callable[..., Outcome]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[AuthorityServer]:
    with authority_server(tmp_path / "db") as server:
        create = server.world.stored.create(an_entry("db"), an_entry("web"))
        asyncio.run_coroutine_threadsafe(create, server.loop).result(20)
        yield server


@pytest.fixture
def run(world: AuthorityServer, finial: Finial) -> Run:
    def show(*words: str) -> Outcome:
        return finial("server", "entry", "show", "--socket", world.socket, "--delivery", *words)

    return show


def test_who_has_an_entry_and_why_others_do_not(run: Run, world: AuthorityServer) -> None:
    world.world.deliveries.found = [
        Delivery(agent_id="a1", applied=0.004, signed=0.0104, delivered=12.5, current=True),
        Delivery(agent_id="a2", applied=0.004, signed=0.0104, current=True),
        Delivery(agent_id="a3", applied=0.004, current=True),
        Delivery(agent_id="a4", current=True),
        Delivery(agent_id="a5"),
        Delivery(agent_id="a6", connected=False),
        Delivery(agent_id="a7", applied=0.004, current=True, trouble="no entropy\n"),
    ]
    world.world.deliveries.more = 3
    found = run("--entry-id", "web")
    assert found.code == 0
    assert found.err == "finial: 3 more agents may serve it and are not shown\n"
    lines = found.out.splitlines()
    assert lines[0] == "Found 1 entry"
    assert lines[2] == "Entry ID      : web"
    table = [line for line in lines if line.startswith(("AGENT", "a"))]
    assert table == [
        "AGENT  HAS IT  APPLIED  SIGNED  DELIVERED  WHY NOT YET",
        "a1     yes     4 ms     10 ms   12.5 s     -",
        "a2     yes     4 ms     10 ms   -          no workload has asked for it yet",
        "a3     yes     4 ms     -       -          its SVID is not signed yet",
        "a4     yes     -        -       -          -",
        "a5     no      -        -       -          connected, but has not acknowledged it",
        "a6     no      -        -       -          not connected: it polls, or is away",
        r"a7     yes     4 ms     -       -          no entropy\n",
    ]


def test_an_entry_that_nobody_may_serve_says_so(run: Run) -> None:
    found = run()
    assert found.out.count("No agent may serve it: none has the parent as its ID or among its aliases") == 2
    assert "\n\nEntry ID      : web\n" in found.out


def test_no_entries_at_all(run: Run) -> None:
    assert run("--hint", "none").out == "Found 0 entries\n"


def test_for_programs(run: Run, world: AuthorityServer) -> None:
    world.world.deliveries.found = [Delivery(agent_id="a1", applied=0.004, current=True)]
    found = json.loads(run("--entry-id", "web", "--output", "json").out)
    assert [entry["id"] for entry in found["entries"]] == ["web"]
    assert found["delivery"]["web"]["total"] == 1
    assert found["delivery"]["web"]["agents"][0]["applied_ms"] == "4"


def test_a_server_that_does_not_tell(server: FakeServer, finial: Finial) -> None:
    found = finial("server", "entry", "show", "--socket", server.socket, "--delivery", "--entry-id", "web")
    assert found.code == 1
    assert "finial.api.server.fleet.v1.Fleet" in found.err
