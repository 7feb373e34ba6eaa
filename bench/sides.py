"""The two sides that are measured: SPIRE's server and agent as they come, and ours, as processes.

Both have a SQLite database, keys on disk, join tokens and their defaults (agents of SPIRE sync every five
seconds), but for the limits that one address with a thousand agents on it would run into. Each process ends
with the one that measures, however that one ends.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from support.daemon import free_port
from support.finial_process import FINIAL
from support.site import TRUST_DOMAIN, AgentDaemon, ServerDaemon

_SERVER = """
server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{trust_domain}"
  data_dir = "{folder}/data"
  log_format = "json"
  ratelimit {{ attestation = false signing = false }}
}}
plugins {{
  DataStore "sql" {{
    plugin_data {{ database_type = "sqlite3" connection_string = "{folder}/data/datastore.sqlite3" }}
  }}
  KeyManager "disk" {{ plugin_data {{ keys_path = "{folder}/data/keys.json" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
}}
"""

_AGENT = """
agent {{
  data_dir = "{folder}/data"
  log_format = "json"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/agent.sock"
  trust_bundle_path = "{bundle}"
  trust_domain = "{trust_domain}"
  join_token = "{token}"
}}
plugins {{
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}/data" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{}} }}
}}
health_checks {{ listener_enabled = true bind_address = "127.0.0.1" bind_port = "{health_port}" }}
"""


def leash() -> list[str | Path]:
    """What begins a command whose process the kernel is to end together with this one."""
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL"] if found else []


class _StockServer(ServerDaemon):
    ready_words = ('"Starting Server APIs"', '"network":"unix"')

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        super().__init__("spire-server", folder, TRUST_DOMAIN)

    def make_command(self) -> list[str | Path]:
        (self.folder / "data").mkdir(exist_ok=True)
        config = self.folder / "server.conf"
        text = _SERVER.format(port=self.port, folder=self.folder, trust_domain=self.trust_domain)
        config.write_text(text)
        return [*leash(), self._program, "run", "-config", config]


class _StockAgent(AgentDaemon):
    ready_words = ('"Starting agent APIs"',)

    def __init__(
        self, program: Path, folder: Path, *, server: ServerDaemon, token: str, bundle: Path
    ) -> None:
        self._program = program
        self.health_port = free_port()
        super().__init__("spire-agent", folder, server=server, token=token, bundle=bundle)

    def make_command(self) -> list[str | Path]:
        (self.folder / "data").mkdir(exist_ok=True)
        config = self.folder / "agent.conf"
        text = _AGENT.format(
            port=self.server.port,
            folder=self.folder,
            bundle=self.bundle,
            trust_domain=self.server.trust_domain,
            token=self.token,
            health_port=self.health_port,
        )
        config.write_text(text)
        return [*leash(), self._program, "run", "-config", config]


class _OurServer(ServerDaemon):
    ready_words = ("the server of", "is ready:")

    def __init__(self, folder: Path, *options: str) -> None:
        self._options = options
        super().__init__("finial server", folder, TRUST_DOMAIN)

    def make_command(self) -> list[str | Path]:
        return [
            *leash(), *FINIAL, "server", "run", "--trust-domain", self.trust_domain,
            "--data-dir", self.folder / "data", "--bind", self.address, "--socket", self.socket,
            "--no-ratelimit-attestation", "--no-ratelimit-signing",
            "--limits-max-connections-per-address=20000", *self._options,
        ]  # fmt: skip


class _OurAgent(AgentDaemon):
    ready_words = ("the agent of", "is ready:")

    def make_command(self) -> list[str | Path]:
        token = self.folder / "token"
        token.write_text(self.token)
        return [
            *leash(), *FINIAL, "agent", "run", "--server", self.server.address, "--join-token-file", token,
            "--trust-bundle", self.bundle, "--data-dir", self.folder / "data", "--socket", self.socket,
        ]  # fmt: skip


class Side(Protocol):
    """Makes servers and agents that have not started yet."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def stock(self) -> bool:
        """Whether it is the peer."""

    def server(self, folder: Path) -> ServerDaemon:
        """A server."""

    def agent(self, folder: Path, *, server: ServerDaemon, token: str, bundle: Path) -> AgentDaemon:
        """An agent of it; see `AgentDaemon`."""


@dataclass(frozen=True)
class Spire:
    """SPIRE, as it comes.

    Args:
        server_program: spire-server.
        agent_program: spire-agent.
    """

    server_program: Path
    agent_program: Path
    name: str = "SPIRE"
    stock: bool = True

    def server(self, folder: Path) -> ServerDaemon:
        """A server."""
        return _StockServer(self.server_program, folder)

    def agent(self, folder: Path, *, server: ServerDaemon, token: str, bundle: Path) -> AgentDaemon:
        """An agent of it."""
        return _StockAgent(self.agent_program, folder, server=server, token=token, bundle=bundle)


@dataclass(frozen=True)
class Finial:
    """Ours.

    Args:
        options: Further options of servers.
    """

    options: tuple[str, ...] = ()
    name: str = "Finial"
    stock: bool = False

    def server(self, folder: Path) -> ServerDaemon:
        """A server."""
        return _OurServer(folder, *self.options)

    def agent(self, folder: Path, *, server: ServerDaemon, token: str, bundle: Path) -> AgentDaemon:
        """An agent of it."""
        return _OurAgent("finial agent", folder, server=server, token=token, bundle=bundle)


def health_port(agent: AgentDaemon) -> int | None:
    """Where an agent says by HTTP whether it is ready; None when it says so on its socket."""
    return agent.health_port if isinstance(agent, _StockAgent) else None
