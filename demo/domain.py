"""A trust domain on the stage: a server and one node, and the operator's commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from demo.cast import Player
from demo.screen import Screen
from demo.stage import FINIAL, Process, Stage, StoryError


@dataclass
class Domain:
    """A trust domain, and the folder that its files are in.

    Args:
        name: Of the trust domain.
        folder: Below the stage's; short, since it is read in every command.
        stage: Where its processes run.
        screen: Shows what is done.
        quiet: Whether only commands are shown, and not what comes back.
    """

    name: str
    folder: str
    stage: Stage
    screen: Screen
    quiet: bool = False
    address: str = field(default="", init=False)

    @property
    def socket(self) -> str:
        """Where operators reach the server."""
        return f"{self.folder}/server.sock"

    @property
    def agent_socket(self) -> Path:
        """Where workloads reach the agent."""
        return self.stage.folder / f"{self.folder}-node" / "agent.sock"

    @property
    def node(self) -> str:
        """The parent of the entries."""
        return f"spiffe://{self.name}/node1"

    def id(self, path: str) -> str:
        """A SPIFFE ID of this trust domain."""
        return f"spiffe://{self.name}/{path}"

    async def start_server(self) -> Process:
        """Start the server and wait until it serves."""
        words = [
            "server", "run", "--trust-domain", self.name, "--data-dir", f"{self.folder}/data",
            "--bind", "127.0.0.1:0", "--socket", self.socket,
        ]  # fmt: skip
        self.screen.command(["finial", *words])
        server = await self.stage.start(f"server of {self.name}", [*FINIAL, *words])
        line = await server.line("is ready: agents reach it at")
        self._show(line)
        found = re.search(r"agents reach it at ([^,\s]+),", line)
        if found is None:
            raise StoryError("the server has to say where agents reach it", line)
        self.address = found[1]
        return server

    async def start_agent(self) -> Process:
        """Make a token, hand it to an agent over a pipe, and wait until it has joined."""
        token = ["server", "token", "generate", "--socket", self.socket, "--spiffe-id", self.node]
        agent = [
            "agent", "run", "--server", self.address, "--trust-bundle", f"{self.folder}/bundle.pem",
            "--join-token-file", "-", "--data-dir", f"{self.folder}-node/data",
            "--socket", f"{self.folder}-node/agent.sock",
        ]  # fmt: skip
        self.screen.command(["finial", *token], ["finial", *agent])
        secret, remark = await self.stage.run(token)
        self._show(remark)
        process = await self.stage.start(f"agent of {self.name}", [*FINIAL, *agent])
        await process.feed(secret)
        self._show(await process.line("is ready: workloads reach it at"))
        return process

    async def operate(self, *words: str, into: str = "") -> str:
        """Run an operator's command and show it; what it wrote.

        Args:
            words: Behind `finial server`, without the socket.
            into: The file that its output goes to, below the stage's folder.
        """
        whole = ["server", *words, "--socket", self.socket]
        self.screen.command(["finial", *whole], into=into)
        out, _ = await self.stage.run(whole)
        if into:
            (self.stage.folder / into).write_text(out)
        else:
            self._show(out)
        return out

    async def register(self, name: str, player: Player, *more: str, update: bool = False) -> None:
        """Create or replace the entry of a workload."""
        await self.operate(
            "entry", "update" if update else "create", "--entry-id", name, "--parent-id", self.node,
            "--spiffe-id", self.id(name), "--selector", player.selector, *more,
        )  # fmt: skip

    async def launch(self, name: str, player: Player) -> Process:
        """Start a workload beside this domain's agent; it waits for what it is told."""
        environ = {**player.environ, "SPIFFE_ENDPOINT_SOCKET": f"unix://{self.agent_socket}"}
        return await self.stage.start(name, player.words, environ=environ)

    def _show(self, text: str) -> None:
        if not self.quiet:
            self.screen.output(text)
