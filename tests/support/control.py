"""An operator at a server's administration socket; SPIRE's server and ours are the same to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

from finial.rpc import Channel, Unix
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_server_entry_v1 as entry_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import error_of

_WAIT = timedelta(seconds=30)
_BATCH = 500  # how many entries go in one call


class Control:
    """Calls to one server.

    Args:
        socket: Its administration socket.
        trust_domain: Its name, for the paths that methods take.
    """

    def __init__(self, socket: Path, trust_domain: str) -> None:
        self.trust_domain = trust_domain
        self.channel = Channel(Unix(str(socket)))

    async def __aenter__(self) -> Self:
        await self.channel.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.channel.__aexit__(*exc)

    def id(self, path: str) -> types.SPIFFEID:
        """The ID with this path, given with or without its trust domain."""
        return types.SPIFFEID(
            trust_domain=self.trust_domain, path=path.removeprefix(f"spiffe://{self.trust_domain}")
        )

    def entry(
        self, path: str, *, parent: str, selectors: Iterable[str], ttl: int = 0, hint: str = ""
    ) -> types.Entry:
        """An entry to create; a selector is `type:value`."""
        parsed = (each.partition(":") for each in selectors)
        return types.Entry(
            spiffe_id=self.id(path),
            parent_id=self.id(parent),
            selectors=[types.Selector(type=kind, value=value) for kind, _, value in parsed],
            x509_svid_ttl=ttl,
            hint=hint,
        )

    async def token(self, *, agent: str = "", ttl: int = 600, value: str = "") -> str:
        """A join token, with this value or one of the server's; `agent` is the alias that the node gets."""
        alias = self.id(agent) if agent else None
        wanted = agent_pb.CreateJoinTokenRequest(ttl=ttl, agent_id=alias, token=value)
        return (await self.channel.unary(agent_pb.Agent.CreateJoinToken, wanted, timeout=_WAIT)).value

    async def create(self, *entries: types.Entry) -> list[str]:
        """Create entries; their ids."""
        ids: list[str] = []
        for start in range(0, len(entries), _BATCH):
            wanted = entry_pb.BatchCreateEntryRequest(entries=entries[start : start + _BATCH])
            reply = await self.channel.unary(entry_pb.Entry.BatchCreateEntry, wanted, timeout=_WAIT)
            _check(each.status for each in reply.results)
            ids += [each.entry.id for each in reply.results]
        return ids

    async def update(self, *entries: types.Entry) -> None:
        """Give entries, which are there, another content."""
        wanted = entry_pb.BatchUpdateEntryRequest(entries=entries)
        reply = await self.channel.unary(entry_pb.Entry.BatchUpdateEntry, wanted, timeout=_WAIT)
        _check(each.status for each in reply.results)

    async def delete(self, ids: Sequence[str]) -> None:
        """Delete entries."""
        wanted = entry_pb.BatchDeleteEntryRequest(ids=ids)
        reply = await self.channel.unary(entry_pb.Entry.BatchDeleteEntry, wanted, timeout=_WAIT)
        _check(each.status for each in reply.results)

    async def entries(self) -> list[types.Entry]:
        """All entries."""
        reply = await self.channel.unary(
            entry_pb.Entry.ListEntries, entry_pb.ListEntriesRequest(), timeout=_WAIT
        )
        return list(reply.entries)

    async def agents(self) -> list[types.Agent]:
        """All agents."""
        reply = await self.channel.unary(
            agent_pb.Agent.ListAgents, agent_pb.ListAgentsRequest(), timeout=_WAIT
        )
        return list(reply.agents)

    async def ban(self, agent: str) -> None:
        """Ban an agent."""
        await self.channel.unary(
            agent_pb.Agent.BanAgent, agent_pb.BanAgentRequest(id=self.id(agent)), timeout=_WAIT
        )

    async def evict(self, agent: str) -> None:
        """Forget an agent."""
        await self.channel.unary(
            agent_pb.Agent.DeleteAgent, agent_pb.DeleteAgentRequest(id=self.id(agent)), timeout=_WAIT
        )

    async def bundle(self) -> str:
        """The trust domain's X.509 authorities as PEM."""
        reply = await self.channel.unary(
            bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest(), timeout=_WAIT
        )
        return "".join(ssl.DER_cert_to_PEM_cert(each.asn1) for each in reply.x509_authorities)


def _check(statuses: Iterable[types.Status]) -> None:
    """Return if all items of a batch went well; the error of the first that did not is raised."""
    for error in filter(None, map(error_of, statuses)):
        raise error
