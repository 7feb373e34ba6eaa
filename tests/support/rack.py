"""A node attestor from outside: a node is what a file says, its name first and then one thing a line.

It imports nothing of the tests, since a test makes a distribution of it and real processes load it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from finial.core.errors import FinialError, Kind, Reason
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from finial.plugin.catalog import PluginContext
from finial.plugin.node import AttestedNode, Exchange

_NAME = "rack"
_REFUSED = Reason("rack-refused", Kind.DENIED)


class RackServer:
    """The half that judges: believes whoever can say the word that it asks for backwards."""

    def __init__(self, trust_domain: TrustDomain, word: str) -> None:
        self._trust_domain = trust_domain
        self._word = word

    async def attest(self, payload: bytes, exchange: Exchange) -> AttestedNode:
        """Ask for the word, then take the node's lines as they are."""
        answer = await exchange(self._word.encode())
        if answer.decode() != self._word[::-1]:
            raise FinialError(_REFUSED, "it does not know the word")
        name, *lines = json.loads(payload)
        agent_id = SpiffeID.from_parts(self._trust_domain, "spire", "agent", _NAME, name)
        return AttestedNode(agent_id, tuple(Selector(_NAME, line) for line in lines), can_reattest=True)


class RackAgent:
    """The half that proves: reads the file at each attestation."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def payload(self) -> bytes:
        """The lines of the file."""
        return json.dumps(self._file.read_text().split()).encode()

    async def respond(self, challenge: bytes) -> bytes:
        """The word backwards."""
        return challenge[::-1]


def server(settings: Mapping[str, object], context: PluginContext) -> RackServer:
    """The factory of the server's half."""
    return RackServer(context.trust_domain, str(settings["word"]))


def agent(settings: Mapping[str, object], context: PluginContext) -> RackAgent:
    """The factory of the agent's half."""
    return RackAgent(Path(str(settings["file"])))
