"""`kill -9` at any moment: what was acknowledged is there, nothing is half done, and nobody has to help.

ROUNDS says how often (`make soak`: 100), SEED repeats what an earlier run has drawn.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from finial.runtime.clock import SystemClock
from support.daemon import Daemon
from support.dice import Dice
from support.finial_process import FinialAgent, FinialServer
from support.ledger import Ledger
from support.load import Load
from support.stream import Stream

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SEED = os.environ.get("SEED") or secrets.token_hex(4)

_ROUND_SECONDS = 60.0  # reached only by a bug
_LOADED = timedelta(milliseconds=900)  # the latest moment under load
_STARTING = timedelta(milliseconds=700)  # somewhat longer than a start takes
_NODE, _ALWAYS = "/node", "spiffe://example.org/always"
_MYSELF = f"unix:uid:{os.getuid()}"
_SYNC = "--sync-interval=200ms"
_SERVER_OPTIONS = ("--ca-ttl=4m", "--agent-ttl=1m", "--prune-interval=1s", "--log-level=info")


@pytest.mark.timeout(60 + ROUNDS * _ROUND_SECONDS)
def test_kills_lose_nothing_and_need_nobody(sockets: Path) -> None:
    print(f"SEED={SEED} ROUNDS={ROUNDS}")
    asyncio.run(_all_rounds(sockets, Dice(SEED)))


async def _all_rounds(folder: Path, dice: Dice) -> None:
    async with _trial(folder, dice) as trial:
        for number in range(1, ROUNDS + 1):
            async with asyncio.timeout(_ROUND_SECONDS):
                await trial.round(number)
        ledger = trial.ledger
        print(
            f"{ROUNDS} rounds, {trial.kills} kills: {ledger.acknowledged} calls acknowledged and "
            f"{ledger.doubtful} cut off, {len(ledger.entries)} entries, {len(ledger.nodes)} nodes"
        )
    with closing(sqlite3.connect(folder / "s" / "data" / "server.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@asynccontextmanager
async def _trial(folder: Path, dice: Dice) -> AsyncIterator[Trial]:
    async with FinialServer(folder / "s", *_SERVER_OPTIONS) as server:
        control = server.control
        bundle, token = await server.bundle_file(), await control.token(agent=_NODE)
        agent = FinialAgent(folder / "a", _SYNC, server=server, token=token, bundle=bundle)
        await control.create(control.entry("/always", parent=_NODE, selectors=[_MYSELF]))
        ledger = Ledger(server)
        async with agent, Stream(agent.socket) as stream:
            yield Trial(folder, dice, server, agent, stream, ledger, Load(ledger, dice))


@dataclass
class Trial:
    """One server and one agent through all rounds, and a new agent in each."""

    folder: Path
    dice: Dice
    server: FinialServer
    agent: FinialAgent
    stream: Stream
    ledger: Ledger
    load: Load
    kills: int = 0

    async def round(self, number: int) -> None:
        """Load and kills; then everything starts again, and is looked at."""
        newcomer = await self._newcomer(number)
        try:
            await newcomer.launch()
            await self._trouble(newcomer)
            await self._goes_on(number)
            agents = await self.server.control.agents()
            assert self.server.control.id(newcomer.id) in [each.id for each in agents]
        finally:
            await newcomer.stop()

    async def _trouble(self, newcomer: FinialAgent) -> None:
        server, agent, dice = self.server, self.agent, self.dice
        kills: list[tuple[Daemon, timedelta]] = [(server, _LOADED)]
        kills += [(agent, _LOADED)] if dice.fraction() < 0.5 else []
        kills += [(newcomer, _STARTING)] if dice.fraction() < 0.7 else []
        async with asyncio.TaskGroup() as group:
            group.create_task(self.load.until_refused())
            for daemon, most in kills:
                group.create_task(self._kill(daemon, dice.moment(most)))
        if dice.fraction() < 0.3:
            await server.launch()
            await self._kill(server, dice.moment(_STARTING))
        await server.start()
        await self.ledger.audit()
        for daemon, _ in kills[1:]:
            await daemon.launch()
        for joining in (agent, newcomer):
            await joining.ready()

    async def _kill(self, daemon: Daemon, after: timedelta) -> None:
        """End a process at a moment that is drawn: it is what is tried here, so nothing is waited for."""
        await SystemClock().sleep(after)
        await daemon.kill()
        self.kills += 1

    async def _newcomer(self, number: int) -> FinialAgent:
        """An agent that has a token and has never run."""
        token = await self.server.control.token(agent=f"/newcomer/{number}")
        bundle = await self.server.bundle_file()
        return FinialAgent(self.folder / f"n{number}", server=self.server, token=token, bundle=bundle)

    async def _goes_on(self, number: int) -> None:
        """What an operator does now arrives; this workload was never told that it is nobody."""
        control = self.server.control
        entry = control.entry(f"/round/{number}", parent=_NODE, selectors=[_MYSELF])
        ids = await control.create(entry)
        await self.stream.identified(_ALWAYS, f"spiffe://example.org/round/{number}")
        await control.delete(ids)
        await self.stream.identified(_ALWAYS)
        assert self.stream.revocations == 0
