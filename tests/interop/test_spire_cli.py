"""SPIRE's command line at our server and ours at SPIRE's: the same day gives the same answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from support.finial_process import FINIAL, FinialServer
from support.operator_script import Outcome, Step, perform
from support.order_script import Desk, rotate, summary
from support.site import ServerDaemon
from support.spire_process import SpireAgent, SpireServer

Perform = Callable[[str, str, str], list[tuple[Step, Outcome]]]

# Its reply repeats the trust domain as the command line wrote it: SPIRE's with its scheme, ours without.
_ECHOES = ("bundle", "delete")


@pytest.fixture
def day(spire_server: Path, spire_agent: Path, sockets: Path) -> Perform:
    """The outcomes of a command line at a server, in a form."""
    programs: dict[str, Sequence[str | Path]] = {"spire": [spire_server], "finial": [*FINIAL, "server"]}

    def run(cli: str, server: str, form: str) -> list[tuple[Step, Outcome]]:
        folder = sockets / f"{cli[0]}{server[0]}"
        started = SpireServer(spire_server, folder) if server == "spire" else FinialServer(folder)
        make_agent = partial(SpireAgent, spire_agent, sockets / f"{folder.name}a")
        return asyncio.run(perform(programs[cli], started, make_agent, form=form))

    return run


Orders = Callable[[str, str, str, str], list[tuple[str, Outcome]]]

_SPIRES, _OURS = "localauthority", ("authority",)
_REVOKING_SECONDS = 60.0  # an agent that polls has to have been quiet for ten of them


@pytest.fixture
def orders(spire_server: Path, sockets: Path) -> Orders:
    """The outcomes of a rotation by a command line at a server, in a form."""

    async def give(cli: str, started: ServerDaemon, kind: str, form: str) -> list[tuple[str, Outcome]]:
        async with started:
            if cli == "spire":
                desk = Desk([spire_server], (_SPIRES, kind), started, form)
            else:
                desk = Desk([*FINIAL, "server"], _OURS, started, form, kind)
            return [each async for each in rotate(desk)]

    def run(cli: str, server: str, kind: str, form: str) -> list[tuple[str, Outcome]]:
        folder = sockets / f"o{cli[0]}{server[0]}"
        started = SpireServer(spire_server, folder) if server == "spire" else FinialServer(folder)
        return asyncio.run(give(cli, started, kind, form))

    return run


@pytest.mark.parametrize("form", ["pretty", "json"])
@pytest.mark.parametrize("kind", ["x509", "jwt"])
def test_spires_command_line_rotates_the_authority_of_both_servers_alike(
    orders: Orders, kind: str, form: str
) -> None:
    at_spire, at_ours = orders("spire", "spire", kind, form), orders("spire", "finial", kind, form)
    for (what, theirs), (_, ours) in zip(at_spire, at_ours, strict=True):
        assert ours == theirs, what
    assert sum(outcome.code == 0 for _, outcome in at_spire) == 11
    assert sum(outcome.code == 1 for _, outcome in at_spire) == 14


@pytest.mark.parametrize("kind", ["x509", "jwt"])
@pytest.mark.parametrize("server", ["spire", "finial"])
def test_our_command_line_rotates_the_authority_of_both_servers(
    orders: Orders, server: str, kind: str
) -> None:
    theirs, ours = orders("spire", server, kind, "json"), orders("finial", server, kind, "json")
    for (what, their), (_, our) in zip(theirs, ours, strict=True):
        assert our.code == their.code, (what, our)
        assert summary(our.out) == summary(their.out), what
        assert len(our.error.splitlines()) == our.code, what


def test_spires_agent_lives_through_a_rotation_at_our_server(
    spire_server: Path, spire_agent: Path, sockets: Path
) -> None:
    async def main() -> None:
        async with FinialServer(sockets / "r") as server:
            desk = Desk([spire_server], (_SPIRES, "x509"), server, "pretty")
            token, bundle = await server.control.token(agent="/node"), await server.bundle_file()
            make_agent = partial(SpireAgent, spire_agent, sockets / "ra")
            async with make_agent(server=server, token=token, bundle=bundle) as agent:
                before = len(agent.lines)
                first = (await desk.state())["active"]
                await desk.give("prepare")
                # It waits until the agent has fetched the bundle, and does not need to be told to.
                assert (await desk.give("activate", (await desk.state())["prepared"])).code == 0
                assert (await desk.give("taint", first)).code == 0
                await agent.renewed(after=before, patience=_REVOKING_SECONDS)
                found = await desk.give("revoke", first)
                assert "code = FailedPrecondition" in found.error
                assert "1 agent may have SVIDs that rest on this authority" in found.error
                async with asyncio.timeout(_REVOKING_SECONDS):
                    while (await desk.give("revoke", first)).code:
                        pass
                await server.control.create(
                    server.control.entry("/web", parent="/node", selectors=["unix:uid:0"])
                )
                await agent.synced(1)

    asyncio.run(main())


@pytest.mark.parametrize("form", ["pretty", "json"])
def test_spires_command_line_reads_the_same_from_both_servers(day: Perform, form: str) -> None:
    at_spire, at_ours = day("spire", "spire", form), day("spire", "finial", form)
    for (step, theirs), (_, ours) in zip(at_spire, at_ours, strict=True):
        if step.ours:
            assert ours != theirs, f"{step.words} is no longer different: {step.ours}"
            assert ours.code == theirs.code, step.words
        else:
            assert ours == theirs, step.words
    assert len({outcome.out for _, outcome in at_spire}) > 15


@pytest.mark.parametrize("server", ["spire", "finial"])
def test_our_command_line_writes_the_same_json(day: Perform, server: str) -> None:
    theirs, ours = day("spire", server, "json"), day("finial", server, "json")
    for (step, their), (_, our) in zip(theirs, ours, strict=True):
        if step.words[:2] != _ECHOES:
            assert _compared(our.value) == _compared(their.value), step.words
        # Where SPIRE's says in JSON alone that something failed, ours says it with its exit code, too.
        assert (our.code == 0) is (their.code == 0 and not _failed(our.value)), step.words


def _failed(value: object) -> bool:
    results = value.get("results", []) if isinstance(value, dict) else []
    return any(each["status"]["code"] for each in results)


def _compared(value: object) -> object:
    """Lists without their order, of which neither says anything, and failures without what they echo."""
    if isinstance(value, list):
        return sorted((_compared(each) for each in value), key=json.dumps)
    if not isinstance(value, dict):
        return value
    if value.get("status", {}).get("code"):
        return {"status": value["status"]}
    return {key: _compared(value[key]) for key in sorted(value)}
