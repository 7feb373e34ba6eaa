"""Our server and agent as processes, started by the command line that operators use."""

from __future__ import annotations

import sys
from pathlib import Path

from support.site import TRUST_DOMAIN, AgentDaemon, ServerDaemon

FINIAL = (sys.executable, "-m", "finial.cli.main")
"""The command line."""


class FinialServer(ServerDaemon):
    """A server of ours.

    Args:
        folder: See `ServerDaemon`.
        options: Further options of `finial server run`.
        trust_domain: Its name.
    """

    ready_words = ("the server of", "is ready:")

    def __init__(self, folder: Path, *options: str, trust_domain: str = TRUST_DOMAIN) -> None:
        self._options = options
        super().__init__("finial server", folder, trust_domain)

    def make_command(self) -> list[str | Path]:
        """Program and arguments."""
        return [
            *FINIAL, "server", "run", "--trust-domain", self.trust_domain, "--data-dir", self.folder / "data",
            "--bind", self.address, "--socket", self.socket, "--log-level=debug",
            # A test joins many agents from one address, and signs for all of them at once.
            "--no-ratelimit-attestation", "--no-ratelimit-signing", *self._options,
        ]  # fmt: skip


class FinialAgent(AgentDaemon):
    """An agent of ours.

    Args:
        folder: See `AgentDaemon`, as the others.
        options: Further options of `finial agent run`.
        server: Whom it joins.
        token: Its join token.
        bundle: The trust that it starts from.
    """

    ready_words = ("the agent of", "is ready:")

    def __init__(self, folder: Path, *options: str, server: ServerDaemon, token: str, bundle: Path) -> None:
        self._options = options
        super().__init__("finial agent", folder, server=server, token=token, bundle=bundle)

    def make_command(self) -> list[str | Path]:
        """Write the token; program and arguments."""
        token = self.folder / "token"
        token.write_text(self.token)
        return [
            *FINIAL, "agent", "run", "--server", self.server.address, "--join-token-file", token,
            "--trust-bundle", self.bundle, "--data-dir", self.folder / "data", "--socket", self.socket,
            "--sync-interval=1s", "--log-level=debug", *self._options,
        ]  # fmt: skip

    async def synced(self, entries: int) -> None:
        """Wait until it says that it has so many entries."""

        def enough(line: str) -> bool:
            _, found, rest = line.partition("entries changed entries=")
            return bool(found) and int(rest.split()[0]) >= entries

        await self.find(enough)

    async def renewed(self, *, after: int, patience: float) -> int:
        """Wait until it says that it has renewed its own SVID; the number of the line behind."""
        return await self.line("identity renewed", after=after, patience=patience)

    async def refused(self, *, after: int) -> None:
        """Wait until it shows that the server does not let it in again: it ends."""
        assert await self.ended() != 0, self.explain("ended as if all were well")
