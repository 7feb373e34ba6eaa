"""Servers and agents as processes, whoever made them: what a test may ask of either."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from support.control import Control
from support.daemon import Daemon, free_port

TRUST_DOMAIN = "example.org"


class ServerDaemon(Daemon):
    """A running server with an operator at its socket.

    Args:
        name: What failures call it.
        folder: For all that it keeps; short enough for sockets and made if it is not there.
        trust_domain: Its name.
    """

    def __init__(self, name: str, folder: Path, trust_domain: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.trust_domain = trust_domain
        self.port = free_port()
        self.socket = folder / "server.sock"
        self.control = Control(self.socket, trust_domain)
        super().__init__(name, self.make_command())

    def make_command(self) -> list[str | Path]:
        """Write what it reads at its start; program and arguments."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.control.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.control.__aexit__(*exc)
        await super().__aexit__(*exc)

    @property
    def address(self) -> str:
        """Where agents find it."""
        return f"127.0.0.1:{self.port}"

    async def bundle_file(self) -> Path:
        """A fresh file with the bundle that agents start from."""
        path = self.folder / "bundle.pem"
        path.write_text(await self.control.bundle())
        return path


class AgentDaemon(Daemon):
    """A running agent that has joined by token.

    Args:
        name: What failures call it.
        folder: For all that it keeps; short enough for sockets and made if it is not there.
        server: Whom it joins.
        token: Its join token.
        bundle: The file with the trust that it starts from.
    """

    def __init__(self, name: str, folder: Path, *, server: ServerDaemon, token: str, bundle: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.server = server
        self.token = token
        self.bundle = bundle
        self.socket = folder / "agent.sock"
        super().__init__(name, self.make_command())

    def make_command(self) -> list[str | Path]:
        """Write what it reads at its start; program and arguments."""
        raise NotImplementedError

    async def synced(self, entries: int) -> None:
        """Wait until it says that it has so many entries."""
        raise NotImplementedError

    async def renewed(self, *, after: int, patience: float) -> int:
        """Wait until it says that it has renewed its own SVID; the number of the line behind.

        Args:
            after: The first line that counts.
            patience: Seconds.
        """
        raise NotImplementedError

    async def refused(self, *, after: int) -> None:
        """Wait until it shows that the server does not let it in again.

        Args:
            after: The first line that counts.
        """
        raise NotImplementedError

    @property
    def id(self) -> str:
        """The ID that its token gives it."""
        return f"spiffe://{self.server.trust_domain}/spire/agent/join_token/{self.token}"
