"""SPIRE's own server and agent as processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from support.site import TRUST_DOMAIN, AgentDaemon, ServerDaemon

_SERVER = """
server {{
  bind_address = "127.0.0.1"
  bind_port = "{port}"
  socket_path = "{folder}/server.sock"
  trust_domain = "{trust_domain}"
  data_dir = "{folder}/data"
  log_level = "DEBUG"
  log_format = "json"
  ca_ttl = "{ca_ttl}"
  agent_ttl = "{agent_ttl}"
  default_x509_svid_ttl = "{svid_ttl}"
  ratelimit {{ attestation = false signing = false }}
  experimental {{ cache_reload_interval = "1s" {flags} }}
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
  log_level = "DEBUG"
  log_format = "json"
  server_address = "127.0.0.1"
  server_port = "{port}"
  socket_path = "{folder}/agent.sock"
  trust_bundle_path = "{bundle}"
  trust_domain = "{trust_domain}"
  join_token = "{token}"
  experimental {{ sync_interval = "1s" }}
}}
plugins {{
  KeyManager "disk" {{ plugin_data {{ directory = "{folder}/data" }} }}
  NodeAttestor "join_token" {{ plugin_data {{}} }}
  WorkloadAttestor "unix" {{ plugin_data {{ discover_workload_path = true }} }}
}}
"""


@dataclass(frozen=True)
class SpireTTL:
    """Lifetimes, as SPIRE spells durations."""

    ca: str = "24h"
    agent: str = "1h"
    svid: str = "1h"


class SpireServer(ServerDaemon):
    """A stock SPIRE server on SQLite, without rate limits.

    Args:
        program: spire-server.
        folder: See `ServerDaemon`.
        ttl: Lifetimes.
        trust_domain: Its name.
        wit: Whether it signs WIT-SVIDs, which is experimental.
    """

    ready_words = ('"Starting Server APIs"', '"network":"unix"')

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        ttl: SpireTTL | None = None,
        trust_domain: str = TRUST_DOMAIN,
        wit: bool = False,
    ) -> None:
        self._program = program
        self._ttl = ttl or SpireTTL()
        self._flags = 'feature_flags = ["wit-svid"]' if wit else ""
        super().__init__("spire-server", folder, trust_domain)

    def make_command(self) -> list[str | Path]:
        """Write the configuration; program and arguments."""
        (self.folder / "data").mkdir(exist_ok=True)
        config = self.folder / "server.conf"
        config.write_text(
            _SERVER.format(
                port=self.port,
                folder=self.folder,
                trust_domain=self.trust_domain,
                ca_ttl=self._ttl.ca,
                agent_ttl=self._ttl.agent,
                svid_ttl=self._ttl.svid,
                flags=self._flags,
            )
        )
        return [self._program, "run", "-config", config]


class SpireAgent(AgentDaemon):
    """A stock SPIRE agent.

    Args:
        program: spire-agent.
        folder: See `AgentDaemon`, as the others.
        server: Whom it joins.
        token: Its join token.
        bundle: The trust that it starts from.
    """

    ready_words = ('"Starting agent APIs"',)

    def __init__(
        self, program: Path, folder: Path, *, server: ServerDaemon, token: str, bundle: Path
    ) -> None:
        self._program = program
        super().__init__("spire-agent", folder, server=server, token=token, bundle=bundle)

    def make_command(self) -> list[str | Path]:
        """Write the configuration; program and arguments."""
        (self.folder / "data").mkdir(exist_ok=True)
        config = self.folder / "agent.conf"
        config.write_text(
            _AGENT.format(
                port=self.server.port,
                folder=self.folder,
                bundle=self.bundle,
                trust_domain=self.server.trust_domain,
                token=self.token,
            )
        )
        return [self._program, "run", "-config", config]

    async def synced(self, entries: int) -> None:
        """Wait until it says that it has so many entries."""
        seen = 0
        for _ in range(entries):
            seen = await self.line('"Entry created"', after=seen)

    async def renewed(self, *, after: int, patience: float) -> int:
        """Wait until it says that it has renewed its own SVID; the number of the line behind."""
        return await self.line('"Successfully rotated agent SVID"', after=after, patience=patience)

    async def refused(self, *, after: int) -> None:
        """Wait until it shows that the server does not let it in again: it goes on trying."""
        await self.line('"Failed to retrieve attestation result"', after=after)
