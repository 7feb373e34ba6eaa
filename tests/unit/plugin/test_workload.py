from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import TrustDomain
from finial.core.selectors import Selector
from finial.plugin.catalog import PluginContext
from finial.plugin.guard import PluginError
from finial.plugin.workload import WORKLOAD_ATTESTORS, WorkloadProcess
from support.clock import FixedChance, ManualClock

REASON = Reason("test", Kind.UNAVAILABLE)


class Plugin:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def attest(self, process: WorkloadProcess) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def asked(answer: object) -> object:
    context = PluginContext(
        trust_domain=TrustDomain("a.test"), clock=ManualClock(), chance=FixedChance(), data_dir=Path("/")
    )
    guarded = WORKLOAD_ATTESTORS.guard(Plugin(answer), "mine", context)
    return asyncio.run(guarded.attest(WorkloadProcess(1, -1, -1, 0, 0)))


def test_good_answers_pass() -> None:
    assert asked((Selector("mine", "a"),)) == (Selector("mine", "a"),)
    assert asked(()) == ()


@pytest.mark.parametrize("answer", [None, [Selector("mine", "a")], ("mine:a",), (Selector("unix", "uid:0"),)])
def test_bad_answers_are_the_plugins_fault(answer: object) -> None:
    with pytest.raises(PluginError, match=r"workloadattestor\(mine\): returned"):
        asked(answer)


def test_errors_say_whose_they_are() -> None:
    with pytest.raises(PluginError, match=r"workloadattestor\(mine\): no idea") as caught:
        asked(FinialError(REASON, "no idea"))
    assert caught.value.reason is REASON
    with pytest.raises(PluginError, match="raised ZeroDivisionError"):
        asked(ZeroDivisionError("a secret"))


def test_what_is_no_attestor_is_refused() -> None:
    context = PluginContext(
        trust_domain=TrustDomain("a.test"), clock=ManualClock(), chance=FixedChance(), data_dir=Path("/")
    )
    with pytest.raises(PluginError, match="made a int"):
        WORKLOAD_ATTESTORS.guard(5, "mine", context)


def test_a_process_reads_from_its_folder() -> None:
    folder = os.open("/proc/self", os.O_RDONLY)
    try:
        process = WorkloadProcess(os.getpid(), folder, -1, os.geteuid(), os.getegid())
        assert b"Uid:" in process.read("status")
        with pytest.raises(FileNotFoundError):
            process.read("nothing")
    finally:
        os.close(folder)
