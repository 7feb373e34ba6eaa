"""The exam of every workload attestor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from finial.core.errors import FinialError
from finial.core.selectors import Selector
from finial.plugin.workload import WorkloadAttestor, WorkloadProcess
from finial.plugins.workload.unix import UnixAttestor
from support.clock import ManualClock
from support.processes import NOBODY, child
from support.unix_attestor import process

MAKERS: dict[str, Callable[[], WorkloadAttestor]] = {
    "unix": lambda: UnixAttestor(discover_path=True, size_limit=0, clock=ManualClock()),
}


@pytest.fixture(params=sorted(MAKERS))
def named(request: pytest.FixtureRequest) -> tuple[str, WorkloadAttestor]:
    return request.param, MAKERS[request.param]()


def test_its_selectors_carry_its_name(named: tuple[str, WorkloadAttestor], tmp_path: Path) -> None:
    name, attestor = named
    with child(tmp_path) as other, process(other) as seen:
        found = asyncio.run(attestor.attest(seen))
    assert isinstance(found, tuple)
    assert all(type(each) is Selector and each.type == name for each in found)
    assert len(set(found)) == len(found)


def test_it_answers_the_same_as_long_as_nothing_changes(
    named: tuple[str, WorkloadAttestor], tmp_path: Path
) -> None:
    _, attestor = named

    async def main(a: WorkloadProcess, b: WorkloadProcess) -> None:
        answers = await asyncio.gather(*(attestor.attest(each) for each in (a, b, a, b)))
        assert len(set(map(frozenset, answers))) == 1

    with child(tmp_path) as other, process(other) as first, process(other) as second:
        asyncio.run(main(first, second))


def test_it_says_nothing_of_a_process_that_has_ended(
    named: tuple[str, WorkloadAttestor], tmp_path: Path
) -> None:
    _, attestor = named
    with child(tmp_path) as other, process(other) as seen:
        asyncio.run(attestor.attest(seen))
        other.tell("end")
        with pytest.raises(FinialError):
            asyncio.run(attestor.attest(seen))


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change users")
@pytest.mark.parametrize("change", [f"effective {NOBODY}", f"user {NOBODY} {NOBODY}", f"user 0 {NOBODY}"])
def test_it_never_tells_of_a_user_that_did_not_connect(
    named: tuple[str, WorkloadAttestor], tmp_path: Path, change: str
) -> None:
    name, attestor = named
    with child(tmp_path) as other, process(other) as seen:
        before = asyncio.run(attestor.attest(seen))
        other.tell(change)
        try:
            after = asyncio.run(attestor.attest(seen))
        except FinialError:
            return
        assert set(after) <= set(before), name
