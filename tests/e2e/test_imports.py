"""What a server and an agent import to be ready: each further package costs every start and every node."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from support import loaded
from support.daemon import Daemon
from support.finial_process import FINIAL, FinialAgent, FinialServer

_SECONDS = 60.0  # reached only by a bug
_NEITHER = {"aiohttp", "alembic", "prometheus_client", "psycopg", "pydantic", "rich", "structlog"}
_NOT_THE_AGENT = {"finial.server", "sqlalchemy", "sqlite3"}
_NOT_THE_SERVER = {"finial.agent"}


class _Server(FinialServer):
    def make_command(self) -> list[str | Path]:
        return _told(super().make_command())


class _Agent(FinialAgent):
    def make_command(self) -> list[str | Path]:
        return _told(super().make_command())


def _told(command: list[str | Path]) -> list[str | Path]:
    return [sys.executable, loaded.__file__, *command[len(FINIAL) :]]


async def _imported(daemon: Daemon) -> set[str]:
    """What it has imported when it is ready, packages and modules by their full names."""
    os.kill(daemon.pid, signal.SIGUSR1)
    at = await daemon.line(loaded.WORD)
    return set(daemon.lines[at - 1].removeprefix(loaded.WORD).split())


def test_what_a_start_does_not_need_is_not_imported(sockets: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(_SECONDS), _Server(sockets / "s") as server:
            token, bundle = await server.control.token(), await server.bundle_file()
            async with _Agent(sockets / "a", server=server, token=token, bundle=bundle) as agent:
                by_server, by_agent = await _imported(server), await _imported(agent)
        assert {"finial.server.app", "sqlalchemy"} <= by_server
        assert "finial.agent.app" in by_agent
        assert by_server & (_NEITHER | _NOT_THE_SERVER) == set()
        assert by_agent & (_NEITHER | _NOT_THE_AGENT) == set()

    asyncio.run(main())
