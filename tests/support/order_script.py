"""An operator's rotation of the authority, order by order, at a server that has no agents."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.operator_script import Outcome, run_command
from support.site import ServerDaemon

# The subject key id of a root, or the id of a key for tokens.
_ID = re.compile(r"\b(?:[0-9a-f]{40}|[0-9A-Za-z]{32})\b")
_OURS = ("authority",)


@dataclass
class Desk:
    """Gives orders by a command line, and calls authorities by the order in which they appeared.

    Args:
        program: The command line, up to the word `server`.
        orders: What comes before the order itself.
        server: Whom it orders.
        form: `pretty` or `json`.
        kind: Of the authorities; of SPIRE's command line `orders` says it.
    """

    program: Sequence[str | Path]
    orders: tuple[str, ...]
    server: ServerDaemon
    form: str
    kind: str = "x509"
    names: dict[str, str] = field(default_factory=dict)

    async def give(self, order: str, authority_id: str = "") -> Outcome:
        """Give an order; what came of it."""
        which = ("-authorityID", authority_id) if authority_id else ()
        words = (*self._words(order), *which)
        found = await run_command(self.program, words, self.server.socket, self.form)
        return replace(found, out=self._named(found.out), error=self._named(found.error))

    async def state(self) -> dict[str, str]:
        """The IDs of the authorities by what they are."""
        found = await run_command(self.program, self._words("show"), self.server.socket, "json")
        assert isinstance(found.value, dict)
        return {key: found.value[key]["authority_id"] for key in found.value if key != "authorities"}

    def _words(self, order: str) -> tuple[str, ...]:
        kind = ("-kind", self.kind) if self.orders == _OURS else ()
        return (*self.orders, order, *kind)

    def _named(self, text: str) -> str:
        return _ID.sub(lambda found: self.names.setdefault(found[0], f"ID {len(self.names) + 1}"), text)


async def rotate(desk: Desk) -> AsyncIterator[tuple[str, Outcome]]:
    """Give every order, those that are refused among them; what was ordered, and what came of it."""
    yield "show at first", await desk.give("show")
    first = (await desk.state())["active"]
    yield "activate the active", await desk.give("activate", first)
    yield "taint the active", await desk.give("taint", first)
    yield "revoke the active", await desk.give("revoke", first)
    yield "activate another's", await desk.give("activate", "0" * 40)
    yield "taint another's", await desk.give("taint", "0" * 40)
    yield "revoke another's", await desk.give("revoke", "0" * 40)
    yield "prepare", await desk.give("prepare")
    yield "show with a prepared one", await desk.give("show")
    prepared = (await desk.state())["prepared"]
    yield "taint the prepared", await desk.give("taint", prepared)
    yield "revoke the prepared", await desk.give("revoke", prepared)
    yield "prepare again", await desk.give("prepare")
    yield "activate what was replaced", await desk.give("activate", prepared)
    second = (await desk.state())["prepared"]
    yield "activate", await desk.give("activate", second)
    yield "show with an old one", await desk.give("show")
    yield "activate the old", await desk.give("activate", first)
    yield "revoke the untainted", await desk.give("revoke", first)
    yield "taint", await desk.give("taint", first)
    yield "taint again", await desk.give("taint", first)
    yield "show with a tainted one", await desk.give("show")
    yield "revoke", await desk.give("revoke", first)
    yield "revoke again", await desk.give("revoke", first)
    yield "taint the revoked", await desk.give("taint", first)
    yield "show at last", await desk.give("show")
    yield "prepare once more", await desk.give("prepare")


def summary(text: str) -> object:
    """What a command printed as JSON, as far as both servers say it."""
    found = json.loads(text) if text.strip() else {}
    return {key: found[key] for key in found if key != "authorities"}
