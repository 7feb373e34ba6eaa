"""Operators and nodes that keep a server busy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from support.dice import Dice
from support.ledger import Fact, Ledger, Node

_HANDS = 4  # of each kind
_BATCH = 3
_KEPT = 40  # entries that one operator keeps about


class Load:
    """Works on a server, and writes into a ledger what it acknowledges.

    Args:
        ledger: Of the server.
        dice: Decide what is asked.
    """

    def __init__(self, ledger: Ledger, dice: Dice) -> None:
        self._hands: list[Operator | Gate] = []
        for number in range(_HANDS):
            self._hands.append(Operator(ledger, dice.child(f"operator {number}")))
            self._hands.append(Gate(ledger, dice.child(f"gate {number}")))

    async def until_refused(self) -> None:
        """Work with all hands at once; each stops at the first call that is not acknowledged.

        Before they go on, the ledger has to be audited.
        """
        async with asyncio.TaskGroup() as group:
            for hand in self._hands:
                group.create_task(_repeat(hand.step))


async def _repeat(step: Callable[[], Awaitable[bool]]) -> None:
    while await step():
        pass


class Operator:
    """Creates, changes and deletes entries of its own.

    Args:
        ledger: Where it notes what came of it.
        dice: Decide what it does next.
    """

    def __init__(self, ledger: Ledger, dice: Dice) -> None:
        self._ledger = ledger
        self._dice = dice
        self._held: list[Fact] = []

    async def step(self) -> bool:
        """One call; whether it was acknowledged."""
        self._held = [fact for fact in self._held if fact.state is not None]
        lot, control = self._dice.fraction(), self._ledger.server.control
        if not self._held or (lot < 0.5 and len(self._held) < _KEPT):
            return await self._create(1 + int(self._dice.fraction() * _BATCH))
        fact = self._dice.one_of(self._held)
        version = fact.state
        assert isinstance(version, int)
        if lot < 0.75:
            changed = self._ledger.message(fact.name, version + 1)
            return await self._ledger.bring([fact], version + 1, control.update(changed))
        return await self._ledger.bring([fact], None, control.delete([fact.name]))

    async def _create(self, count: int) -> bool:
        facts = [self._ledger.entry(self._dice.token(8).hex()) for _ in range(count)]
        messages = [self._ledger.message(fact.name, 0) for fact in facts]
        self._held += facts
        return await self._ledger.bring(facts, 0, self._ledger.server.control.create(*messages))


class Gate:
    """Lets one node in after another, and throws some of them out.

    Args:
        ledger: Where it notes what came of it.
        dice: Decide what becomes of a node.
    """

    def __init__(self, ledger: Ledger, dice: Dice) -> None:
        self._ledger = ledger
        self._dice = dice

    async def step(self) -> bool:
        """One node; whether all calls were acknowledged."""
        ledger, control = self._ledger, self._ledger.server.control
        node = ledger.node(self._dice.token(8).hex())
        token = control.token(agent=ledger.alias(node), value=node.name)
        if not await ledger.bring([node], Node.TOKEN, token):
            return False
        if not await ledger.bring([node], Node.IN, ledger.join(node)):
            return False
        lot, agent_id = self._dice.fraction(), ledger.agent_id(node)
        if lot < 0.4:
            return await ledger.bring([node], Node.BANNED, control.ban(agent_id))
        if lot < 0.6:
            return await ledger.bring([node], Node.GONE, control.evict(agent_id))
        return True
