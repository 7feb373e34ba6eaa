"""What one stream is told, and what an agent makes of it, without a connection or a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

from finial.server.api.slices import Slices
from finial.server.push.conversation import Opening
from finial.server.push.teller import Teller
from finial.wire import push
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.push import Pace, Page, State
from support.clock import ManualClock
from support.push_agent import Holder
from support.push_world import AGENT, World

_PACE = Pace(server_time_ms=1, silence_ms=30_000, spread_ms=0)

Message = push_pb.SubscribeResponse


def _idle() -> None:
    """Between two pages nothing happens."""


class HastyClock(ManualClock):
    """At each look a millisecond has passed; counts the turns that others have had."""

    turns = 0

    def monotonic(self) -> float:
        self._seconds += 0.001
        return self._seconds

    async def sleep(self, duration: timedelta) -> None:
        self.turns += not duration
        await super().sleep(duration)


class Ledger:
    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, entry_id: str) -> None:
        self.told.append(entry_id)


class Telling(Holder):
    """A teller, and what an agent makes of its pages."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.woken = 0
        self.ledger = Ledger()
        self.subscription = world.index.watch(AGENT, self._wake)
        self.teller = Teller(world.index, self.subscription, self.ledger)

    def _wake(self) -> None:
        self.woken += 1

    def begin(self) -> Opening:
        """Begin with what is held."""
        return self.teller.begin(self.value)

    @property
    def value(self) -> State | None:
        return None if self.state is None else push.state_of(self.state)

    def synced(self) -> Telling:
        """Having been told everything."""
        assert self.begin() is Opening.WHOLE
        self.transfer(reset=True)
        assert self.teller.news() is None
        self.ledger.told.clear()
        return self

    def change(self, between: Callable[[], object] = _idle) -> list[Message]:
        return self._taken(self.teller.change(1, Slices(self.world.clock, 4)), between)

    def transfer(self, *, reset: bool = False, between: Callable[[], object] = _idle) -> list[Message]:
        holds = {} if reset else dict(self.entries)
        slices = Slices(self.world.clock, 4)
        pages = self.teller.transfer(holds, reset=reset, number=1, slices=slices)
        taken = self._taken(pages, between)
        assert holds == self.entries
        return taken

    def _taken(self, pages: Iterator[Page | None], between: Callable[[], object]) -> list[Message]:
        taken: list[Message] = []
        for page in pages:
            if page is not None:
                taken.append(Message.FromString(push.encoded(page, _PACE)))
            if page is None or page.more:
                between()
        for message in taken:
            self.take(message)
        self.check(taken[-1].state)
        assert [message.more for message in taken] == [True] * (len(taken) - 1) + [False]
        assert [message.number for message in taken] == [0] * (len(taken) - 1) + [1]
        assert self.entries == self.world.truth
        assert taken[-1].state.seq == self.world.index.position
        return taken
