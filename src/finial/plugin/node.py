"""Node attestors: how a node proves what it is. The agent's half and the server's half talk in bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from finial.core.ids import SpiffeID, TrustDomain, is_agent_id
from finial.core.selectors import Selector
from finial.plugin.catalog import Cardinality, Group, PluginContext
from finial.plugin.guard import guarded, wrong

Exchange = Callable[[bytes], Awaitable[bytes]]
"""Sends a challenge to the agent; returns its response."""


@dataclass(frozen=True, slots=True)
class AttestedNode:
    """What a server's half has found out about a node.

    Args:
        agent_id: Which agent it is, below `/spire/agent`.
        selectors: What was seen of the node; their type is the attestor's name.
        can_reattest: Whether the same node may attest again.
    """

    agent_id: SpiffeID
    selectors: tuple[Selector, ...]
    can_reattest: bool


@runtime_checkable
class NodeAttestorServer(Protocol):
    """The half that judges."""

    async def attest(self, payload: bytes, exchange: Exchange) -> AttestedNode:
        """Judge a node.

        Args:
            payload: What its agent began with; never empty.
            exchange: Asks the agent more, as often as is needed. What it raises is not to be caught.

        Raises:
            FinialError: The node is refused; of kind INVALID or DENIED.
        """


@runtime_checkable
class NodeAttestorAgent(Protocol):
    """The half that proves."""

    async def payload(self) -> bytes:
        """What to begin with; not empty.

        Raises:
            FinialError: The node has nothing to show.
        """

    async def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge; not empty.

        Raises:
            FinialError: There is none.
        """


class GuardedNodeAttestorServer:
    """A server's half whose answers are checked and whose errors say whose they are.

    Args:
        inner: The plugin.
        name: Its name, the only type that its selectors may have.
        trust_domain: The only one that its agents may be of.
    """

    def __init__(self, inner: NodeAttestorServer, name: str, trust_domain: TrustDomain) -> None:
        self._inner = inner
        self._name = name
        self._owner = NODE_ATTESTORS_SERVER.owner(name)
        self._trust_domain = trust_domain

    async def attest(self, payload: bytes, exchange: Exchange) -> AttestedNode:
        """Judge a node; what `exchange` raises is passed on as it is, for it is not the plugin's."""
        passed_on: list[Exception] = []

        async def ask(challenge: object) -> bytes:
            if not isinstance(challenge, bytes):
                passed_on.append(wrong(self._owner, "sent a challenge that is not bytes"))
                raise passed_on[-1]
            try:
                return await exchange(challenge)
            except Exception as error:
                passed_on.append(error)
                raise

        with guarded(self._owner):
            try:
                node: object = await self._inner.attest(payload, ask)
            except Exception as error:
                if error not in passed_on:
                    raise
                node = None
        if passed_on:
            raise passed_on[0]  # also when the plugin caught it: nothing was proven by what did not come
        return self._checked(node)

    def _checked(self, node: object) -> AttestedNode:
        if not isinstance(node, AttestedNode):
            raise wrong(self._owner, f"returned a {type(node).__name__}, which is no attested node")
        agent_id: object = node.agent_id  # Python holds no plugin to the types
        if not isinstance(agent_id, SpiffeID):
            raise wrong(self._owner, f"returned a {type(agent_id).__name__} as the agent's ID")
        if not agent_id.member_of(self._trust_domain) or not is_agent_id(agent_id):
            message = f"returned {agent_id}, which is no agent of trust domain {self._trust_domain}"
            raise wrong(self._owner, message)
        selectors: object = node.selectors
        if not isinstance(selectors, tuple):
            raise wrong(self._owner, f"returned a {type(selectors).__name__}, which is no tuple of selectors")
        for selector in selectors:
            if not isinstance(selector, Selector) or selector.type != self._name:
                raise wrong(self._owner, f"returned what is no selector of type {self._name}")
        return node


class GuardedNodeAttestorAgent:
    """An agent's half whose answers are checked and whose errors say whose they are.

    Args:
        inner: The plugin.
        owner: Its kind and name.
    """

    def __init__(self, inner: NodeAttestorAgent, owner: str) -> None:
        self._inner = inner
        self._owner = owner

    async def payload(self) -> bytes:
        """What to begin with."""
        with guarded(self._owner):
            payload: object = await self._inner.payload()
        return self._checked(payload, "payload")

    async def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge."""
        with guarded(self._owner):
            response: object = await self._inner.respond(challenge)
        return self._checked(response, "response")

    def _checked(self, data: object, what: str) -> bytes:
        if not isinstance(data, bytes) or not data:
            raise wrong(self._owner, f"returned a {what} that is empty or no bytes")
        return data


def _guard_server(made: object, name: str, context: PluginContext) -> NodeAttestorServer:
    if not isinstance(made, NodeAttestorServer):
        owner = NODE_ATTESTORS_SERVER.owner(name)
        raise wrong(owner, f"made a {type(made).__name__}, which is no server's half of a node attestor")
    return GuardedNodeAttestorServer(made, name, context.trust_domain)


def _guard_agent(made: object, name: str, _context: PluginContext) -> NodeAttestorAgent:
    owner = NODE_ATTESTORS_AGENT.owner(name)
    if not isinstance(made, NodeAttestorAgent):
        raise wrong(owner, f"made a {type(made).__name__}, which is no agent's half of a node attestor")
    return GuardedNodeAttestorAgent(made, owner)


NODE_ATTESTORS_SERVER: Group[NodeAttestorServer] = Group(
    name="finial.node_attestors.server",
    label="nodeattestor",
    cardinality=Cardinality.ANY,
    guard=_guard_server,
)
"""Any number of these judge the nodes that come to a server; join tokens need none."""

NODE_ATTESTORS_AGENT: Group[NodeAttestorAgent] = Group(
    name="finial.node_attestors.agent",
    label="nodeattestor",
    cardinality=Cardinality.ONE,
    guard=_guard_agent,
)
"""Exactly one of these proves an agent's node, unless it joins by token."""
