"""What was asked of a server, what it has acknowledged, and what must therefore be found afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import pytest

from finial.agent.attest_node import JOIN_TOKEN, AttestationError, Proof, TokenSource, attest
from finial.agent.identity import Key, new_key
from finial.agent.link import FirstContact
from finial.core.errors import Kind
from finial.core.ids import TrustDomain
from finial.rpc import RpcError, StatusCode, Tcp
from finial.wire.gen import spire_api_types as types
from support.site import ServerDaemon

_SECONDS = 60.0  # for an audit; reached only by a bug
_CUT = {StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED}
_OF_LOAD = "/load/"  # begins the paths of entries that a ledger knows
_OF_TOKEN = "/alias/"  # begins the paths of those that come with tokens

Reply = TypeVar("Reply")


class Node(StrEnum):
    """How far a node has come."""

    NOTHING = "nothing"  # no token for it
    TOKEN = "token"  # that nobody has used
    IN = "in"
    BANNED = "banned"
    GONE = "gone"  # evicted


State = int | None | Node
"""Of an entry: its version, None when it is not there. Of a node: how far it has come."""


@dataclass
class Fact:
    """One thing on the server, and in which states it may be.

    Args:
        name: An entry's id, a node's token.
        may: One state when it is certain, more while nobody knows.
    """

    name: str
    may: set[State]
    key: Key = field(default_factory=new_key)

    @property
    def state(self) -> State:
        """The only state that it can be in."""
        [state] = self.may
        return state


@dataclass
class Ledger:
    """All that is known of one server.

    Args:
        server: Which.
    """

    server: ServerDaemon
    entries: dict[str, Fact] = field(default_factory=dict)
    nodes: dict[str, Fact] = field(default_factory=dict)
    acknowledged: int = 0
    doubtful: int = 0
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def more(self, count: int, work: asyncio.Task[None]) -> None:
        """Wait until so many further calls have been acknowledged to those who work."""
        wanted = self.acknowledged + count
        work.add_done_callback(lambda _: self._grown.set())
        while self.acknowledged < wanted:
            assert not work.done(), f"all calls were refused before {count} had been acknowledged"
            self._grown.clear()
            await self._grown.wait()

    def entry(self, name: str) -> Fact:
        """An entry that is about to be made."""
        return self.entries.setdefault(name, Fact(name, {None}))

    def node(self, token: str) -> Fact:
        """A node whose token is about to be made."""
        return self.nodes.setdefault(token, Fact(token, {Node.NOTHING}))

    async def bring(self, facts: Sequence[Fact], to: State, call: Awaitable[object]) -> bool:
        """Make a call that brings facts into a state; whether it was acknowledged.

        Until it is, each of them may be as it was or as it is to be, and nothing in between.
        """
        for fact in facts:
            fact.may.add(to)
        try:
            await call
        except (RpcError, AttestationError) as error:
            if not _passing(error):
                raise
            self.doubtful += 1
            return False
        for fact in facts:
            fact.may = {to}
        self.acknowledged += 1
        self._grown.set()
        return True

    def message(self, name: str, version: int) -> types.Entry:
        """An entry in a version, which shows in several of its fields."""
        entry = self.server.control.entry(
            f"{_OF_LOAD}{name}/{version}",
            parent=f"/nowhere/{version}",
            selectors=[f"unix:gid:{version}", f"unix:uid:{version}"],
            ttl=60 + version,
            hint=f"version {version}",
        )
        entry.id = name
        return entry

    async def writes(self) -> None:
        """See that the server takes a write."""
        name = f"written-{len(self.entries)}"
        call = self.server.control.create(self.message(name, 0))
        assert await self.bring([self.entry(name)], 0, call)

    async def join(self, node: Fact, key: Key | None = None) -> None:
        """Attest a node by its token, with its own key or another one.

        Raises:
            RpcError: The server does not answer.
            AttestationError: It refuses.
        """
        contact = FirstContact(Tcp("127.0.0.1", self.server.port), TrustDomain(self.server.trust_domain))
        async with contact.channel() as channel:
            proof = Proof(JOIN_TOKEN, TokenSource(node.name, None))
            identity = await attest(channel, proof, key or node.key)
        assert identity.id.path == self._agent_path(node)

    def alias(self, node: Fact) -> str:
        """The path that its token gives it beside its own."""
        return f"{_OF_TOKEN}{node.name}"

    def agent_id(self, node: Fact) -> str:
        """The ID of its agent."""
        return f"spiffe://{self.server.trust_domain}{self._agent_path(node)}"

    def _agent_path(self, node: Fact) -> str:
        return f"/spire/agent/{JOIN_TOKEN}/{node.name}"

    async def audit(self) -> None:
        """Compare everything with what the server says; what was in doubt is settled by it."""
        async with asyncio.timeout(_SECONDS):
            found = await self.server.control.entries()
            await self._audit_entries({each.id: each for each in found if _of(each, _OF_LOAD)})
            aliases = {each.parent_id.path for each in found if _of(each, _OF_TOKEN)}
            agents = {each.id.path: each for each in await self.server.control.agents()}
            for node in self.nodes.values():
                path = self._agent_path(node)
                await self._audit_node(node, path in aliases, agents.get(path))

    async def _audit_entries(self, found: dict[str, types.Entry]) -> None:
        assert found.keys() <= self.entries.keys()
        for fact in self.entries.values():
            entry = found.get(fact.name)
            version = None if entry is None else int(entry.spiffe_id.path.rpartition("/")[2])
            assert version in fact.may, f"entry {fact.name} is {version}, and can only be {fact.may}"
            if entry is not None and version is not None:
                entry.created_at = entry.revision_number = 0
                assert entry == self.message(fact.name, version), "an entry is half changed"
            fact.may = {version}

    async def _audit_node(self, node: Fact, alias: bool, agent: types.Agent | None) -> None:
        in_doubt = len(node.may) > 1
        state: State
        if agent is not None:
            assert alias, f"node {node.name} is there without the entry that came with its token"
            state = Node.BANNED if agent.banned else Node.IN
        elif alias:
            state = Node.TOKEN
        else:
            state = Node.GONE if Node.GONE in node.may else Node.NOTHING
        assert state in node.may, f"node {node.name} is {state}, and can only be {node.may}"
        node.may = {state}
        if in_doubt:
            await self._try(node)

    async def _try(self, node: Fact) -> None:
        """See that the token's use and the node's record are one: both happened or neither."""
        if node.state is Node.TOKEN:
            node.key = new_key()  # nobody has used it, so that it is anybody's
            await self.join(node)
            node.may = {Node.IN}
        elif node.state is Node.IN:
            await self.join(node)  # the same use of the token, once more
        else:
            await self._is_refused(node, node.key)
        await self._is_refused(node, new_key())

    async def _is_refused(self, node: Fact, key: Key) -> None:
        with pytest.raises(AttestationError) as caught:
            await self.join(node, key)
        assert not _passing(caught.value), f"node {node.name} is {node.state}: {caught.value}"


def _of(entry: types.Entry, prefix: str) -> bool:
    return entry.spiffe_id.path.startswith(prefix)


def _passing(error: RpcError | AttestationError) -> bool:
    """Whether an error leaves it open what has happened."""
    if isinstance(error, RpcError):
        return error.code in _CUT
    return error.reason.kind is Kind.UNAVAILABLE
