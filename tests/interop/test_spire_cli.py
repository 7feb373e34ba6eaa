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
