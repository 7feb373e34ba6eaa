"""A trust domain of one node on which this user has two identities, whoever made its server and its agent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_der_public_key

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import write_jwks, write_wit_jwks
from finial.core.ids import TrustDomain
from finial.core.keys import narrow
from finial.core.token_authority import TokenAuthority
from support.finial_process import FinialAgent, FinialServer
from support.interop_process import Answer
from support.judge import Judge, keys_of
from support.site import AgentDaemon, ServerDaemon
from support.spire_process import SpireAgent, SpireServer

HINT = "first"
NODE = "/node1"
PATHS = ("/one", "/two")
"""Of the identities; the first has the hint."""

INCUBATING = "--incubating-wit-svid=2026-07-01"


@dataclass(frozen=True)
class Site:
    """Who makes the parts.

    Args:
        server: SPIRE's program, or None for ours.
        agent: SPIRE's program, or None for ours.
        options: Of our parts.
    """

    server: Path | None
    agent: Path | None
    options: tuple[str, ...] = ()

    def make_server(self, folder: Path) -> ServerDaemon:
        """A server that has not started."""
        return SpireServer(self.server, folder) if self.server else FinialServer(folder, *self.options)

    def make_agent(self, folder: Path, server: ServerDaemon, token: str, bundle: Path) -> AgentDaemon:
        """An agent that has not started."""
        if self.agent:
            return SpireAgent(self.agent, folder, server=server, token=token, bundle=bundle)
        return FinialAgent(folder, *self.options, server=server, token=token, bundle=bundle)


@dataclass
class TokenDomain:
    """A running one."""

    agent: AgentDaemon

    @property
    def server(self) -> ServerDaemon:
        """Its server."""
        return self.agent.server

    @property
    def trust_domain(self) -> TrustDomain:
        """Its name."""
        return TrustDomain(self.server.trust_domain)

    def id(self, path: str) -> str:
        """The ID with this path."""
        return f"spiffe://{self.server.trust_domain}{path}"

    @property
    def ids(self) -> set[str]:
        """Those of this user."""
        return {self.id(path) for path in PATHS}

    async def order(self, judge: Judge, op: str, **fields: Any) -> Answer:
        """A call of the agent's Workload API that has to succeed."""
        return await judge.order(op, socket=str(self.agent.socket), **fields)

    async def fails(self, judge: Judge, op: str, **fields: Any) -> int:
        """The status code of a call that has to fail."""
        answer = await judge.attempt(op, socket=str(self.agent.socket), **fields)
        assert "error" in answer, f"{judge.library.name} was not refused: {answer}"
        return int(answer["code"])

    async def token_bundles(self, judge: Judge) -> BundleSet:
        """The bundles with the keys for JWT-SVIDs that a library fetched."""
        return _bundles((await self.order(judge, "token_keys"))["bundles"], wit=False)

    async def wit_bundles(self, judge: Judge) -> BundleSet:
        """The bundles with the keys for WIT-SVIDs that a library fetched."""
        return _bundles((await self.order(judge, "wit_keys"))["bundles"], wit=True)


def _bundles(found: Answer, *, wit: bool) -> BundleSet:
    bundles = []
    for name, keys in found.items():
        authorities = tuple(
            TokenAuthority(key_id=kid, key=narrow(load_der_public_key(der)))
            for kid, der in keys_of(keys).items()
        )
        jwt, wits = ((), authorities) if wit else (authorities, ())
        bundles.append(Bundle(trust_domain=TrustDomain(name), jwt_authorities=jwt, wit_authorities=wits))
    return BundleSet(bundles)


def key_sets(bundles: BundleSet, *, wit: bool = False) -> dict[str, bytes]:
    """The same as the key sets that judges are asked with."""
    write = write_wit_jwks if wit else write_jwks
    return {domain.name: write(bundle) for domain, bundle in bundles.items()}


@asynccontextmanager
async def running(site: Site, folder: Path) -> AsyncIterator[TokenDomain]:
    """A trust domain whose agent knows both identities.

    Args:
        site: Who makes it.
        folder: For all files; its path is short enough for sockets.
    """
    async with site.make_server(folder / "s") as server:
        token, bundle = await server.control.token(agent=NODE), await server.bundle_file()
        async with site.make_agent(folder / "a", server, token, bundle) as agent:
            selectors = [f"unix:uid:{os.getuid()}"]
            await server.control.create(
                *(
                    server.control.entry(
                        path, parent=NODE, selectors=selectors, hint=HINT if path == PATHS[0] else ""
                    )
                    for path in PATHS
                )
            )
            await agent.synced(len(PATHS))
            yield TokenDomain(agent)
