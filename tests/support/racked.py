"""The attestor of `support.rack` as a distribution of its own, and agents whose nodes it attests."""

from __future__ import annotations

from pathlib import Path

from support import rack
from support.finial_process import FINIAL, FinialServer
from support.site import AgentDaemon, ServerDaemon

_WORD = "lantern"


def install(site: Path) -> None:
    """Make the distribution in a folder, which is then to be on the path of processes."""
    about = site / "rack_attestor-1.dist-info"
    about.mkdir(parents=True)
    (site / "rack_attestor.py").write_text(Path(rack.__file__).read_text())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rack-attestor\nVersion: 1\n")
    halves = ("server", "agent")
    groups = (f"[finial.node_attestors.{half}]\nrack = rack_attestor:{half}\n" for half in halves)
    (about / "entry_points.txt").write_text("".join(groups))


def rack_server(folder: Path, *options: str) -> FinialServer:
    """A server that attests such nodes; see `FinialServer`."""
    folder.mkdir()
    config = folder / "server.toml"
    config.write_text(f'[plugins.node_attestors.rack]\nword = "{_WORD}"\n')
    return FinialServer(folder, f"--config={config}", "--node-attestors=rack", *options)


class RackedAgent(AgentDaemon):
    """An agent whose node is what a file says.

    Args:
        folder: See `AgentDaemon`.
        lines: What the node is at first; its name before all.
        options: Further options of `finial agent run`.
        server: Whom it joins.
        bundle: The trust that it starts from.
    """

    ready_words = ("the agent of", "is ready:")

    def __init__(
        self, folder: Path, *lines: str, server: ServerDaemon, bundle: Path, options: tuple[str, ...] = ()
    ) -> None:
        self._options = options
        folder.mkdir()
        self.papers = folder / "papers"
        self.papers.write_text("\n".join(lines))
        super().__init__(f"agent {lines[0]}", folder, server=server, token="", bundle=bundle)

    def make_command(self) -> list[str | Path]:
        """Write the configuration; program and arguments."""
        config = self.folder / "agent.toml"
        config.write_text(f'[plugins.node_attestors.rack]\nfile = "{self.papers}"\n')
        return [
            *FINIAL, "agent", "run", "--config", config, "--server", self.server.address,
            "--trust-bundle", self.bundle, "--data-dir", self.folder / "data", "--socket", self.socket,
            "--node-attestor=rack", "--sync-interval=500ms", "--log-level=debug", *self._options,
        ]  # fmt: skip

    def take(self, line: str) -> None:
        """Let the node be this no more."""
        lines = self.papers.read_text().split()
        lines.remove(line)
        self._rewrite(lines)

    def give(self, line: str) -> None:
        """Let the node be this too."""
        self._rewrite([*self.papers.read_text().split(), line])

    def _rewrite(self, lines: list[str]) -> None:
        fresh = self.papers.with_suffix(".new")
        fresh.write_text("\n".join(lines))
        fresh.rename(self.papers)  # whoever reads sees the one or the other
