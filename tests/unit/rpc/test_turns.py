"""How the work of connections is spread over turns of the loop, without a loop's network."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import pytest

from finial.rpc.turns import STARTS, Pace, Turns
from support.rpc import run


@dataclass
class _Call:
    """A call that notes its beginning, and takes its time."""

    name: str
    begun: list[str]
    live: bool = True
    work: Callable[[], None] = lambda: None

    def proceed(self) -> None:
        self.begun.append(self.name)
        self.work()


@dataclass
class _Connection:
    """One whose input is a call for each byte, or what is dear to look at, or cheap."""

    name: str
    turns: Turns
    begun: list[str] = field(default_factory=list)
    fed: list[int] = field(default_factory=list)
    heard: list[bool] = field(default_factory=list)
    ending: bool = False
    now: float = 0.0
    events: int | None = None
    """Of each slice; None for calls."""
    dense: int = 1 << 30
    """From which byte on every one of them is an event."""
    slow: float = 0.0
    """Seconds that each call takes."""

    def __post_init__(self) -> None:
        self.pace = Pace(self, self.turns, lambda: self.now)

    def feed(self, data: bytes) -> int:
        self.fed.append(len(data))
        if self.events is not None:
            return self.events if sum(self.fed) <= self.dense else len(data)
        for _ in data:
            self.pace.enqueue(_Call(self.name, self.begun, work=self.work))
        return len(data)

    def work(self) -> None:
        self.now += self.slow

    def receive(self, data: bytes) -> None:
        self.pace.take(data)

    def listen(self, *, on: bool) -> None:
        self.heard.append(on)


class _Turn:
    """One of the loop's; a future would take two."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def _turn() -> None:
    await _Turn()


def test_a_call_that_comes_alone_begins_at_once() -> None:
    async def main() -> None:
        one = _Connection("one", Turns())
        one.receive(b"c")
        assert one.begun == ["one"]
        assert one.heard == []

    run(main())


def test_so_many_begin_in_each_turn() -> None:
    async def main() -> None:
        one = _Connection("one", Turns())
        one.receive(bytes(3 * STARTS + 1))
        counts = [len(one.begun)]
        for _ in range(4):
            await _turn()
            counts.append(len(one.begun))
        assert counts == [STARTS, 2 * STARTS, 3 * STARTS, 3 * STARTS + 1, 3 * STARTS + 1]
        assert one.heard == []  # nothing is unread, so it went on listening

    run(main())


def test_what_ended_before_its_turn_never_begins() -> None:
    async def main() -> None:
        one = _Connection("one", Turns())
        calls = [_Call(str(number), one.begun) for number in range(3 * STARTS)]
        one.events = 0
        for call in calls:
            one.pace.enqueue(call)
        one.receive(b"x")
        for call in calls[STARTS : 2 * STARTS + 1]:
            call.live = False
        await _turn()
        assert one.begun == [str(n) for n in range(STARTS)] + [
            str(n) for n in range(2 * STARTS + 1, 3 * STARTS)
        ]

    run(main())


def test_input_that_sets_off_much_waits_and_nothing_more_is_read() -> None:
    async def main() -> None:
        one = _Connection("one", Turns(), events=100)
        one.receive(bytes(5_000))
        assert sum(one.fed) < 5_000
        assert one.heard == [False]
        one.receive(bytes(3_000))  # what TLS or a transport had on its way
        turns = 0
        while sum(one.fed) < 8_000:
            await _turn()
            turns += 1
        assert turns == 3
        assert one.heard == [False, True]

    run(main())


def test_long_bodies_are_looked_at_in_longer_slices() -> None:
    async def main() -> None:
        one = _Connection("one", Turns(), events=1)
        one.receive(bytes(192 * 1024))
        assert sum(one.fed) == 192 * 1024
        assert one.fed[:4] == [1024, 2048, 2048, 2048]

    run(main())


@pytest.mark.parametrize("quiet", [0, 1024, 15 * 1024, 240 * 1024])
def test_what_set_off_nothing_lets_what_follows_set_off_no_more(quiet: int) -> None:
    async def main() -> None:
        one = _Connection("one", Turns(), events=0, dense=quiet)
        one.receive(bytes(quiet + 16 * 1024))
        assert sum(one.fed) <= quiet + 2048
        one = _Connection("one", Turns(), events=4, dense=quiet)
        one.receive(bytes(quiet + 16 * 1024))
        while one.turns.crowded:
            seen = sum(one.fed)
            await _turn()
            assert sum(one.fed) <= max(seen, quiet) + 2048

    run(main())


def test_slices_are_short_again_where_they_set_off_more() -> None:
    async def main() -> None:
        one = _Connection("one", Turns(), events=5)
        one.receive(bytes(8 * 1024))
        assert one.fed == [1024] * 8

    run(main())


def test_calls_that_take_long_begin_one_in_a_turn() -> None:
    async def main() -> None:
        turns, begun = Turns(), list[str]()
        slow, other = _Connection("slow", turns, begun, slow=0.018), _Connection("other", turns, begun)
        slow.receive(b"ccc")
        other.receive(b"cc")
        assert begun == ["slow", "other"]
        for _ in range(3):
            await _turn()
        assert begun == ["slow", "other", "slow", "other", "slow"]

    run(main())


def test_calls_begin_until_they_have_taken_so_long_together() -> None:
    async def main() -> None:
        one = _Connection("one", Turns(), slow=0.0005)
        one.receive(b"c" * 10)
        counts = [len(one.begun)]
        for _ in range(2):
            await _turn()
            counts.append(len(one.begun))
        assert counts == [4, 8, 10]

    run(main())


def test_all_who_wait_have_their_turn_one_after_the_other() -> None:
    async def main() -> None:
        turns, begun = Turns(), list[str]()
        flood = [_Connection(name, turns, begun) for name in "abc"]
        for each in flood:
            each.receive(bytes(2 * STARTS))
        assert begun == ["a"] * STARTS + ["b", "c"]  # whoever comes while others wait may do a little
        del begun[:]
        for _ in range(5):
            await _turn()
        assert begun == ["a"] * STARTS + ["b"] * STARTS + ["c"] * STARTS + ["b"] * (STARTS - 1) + ["c"] * (
            STARTS - 1
        )

    run(main())


def test_whoever_comes_while_others_wait_is_served_at_once() -> None:
    async def main() -> None:
        turns = Turns()
        flood, other = _Connection("flood", turns), _Connection("other", turns)
        flood.receive(bytes(100 * STARTS))
        other.receive(b"c")
        assert other.begun == ["other"]
        assert len(flood.begun) == STARTS

    run(main())


def test_a_connection_that_ends_leaves_its_work() -> None:
    async def main() -> None:
        turns = Turns()
        one, other = _Connection("one", turns), _Connection("other", turns)
        one.receive(bytes(2_000))
        other.receive(bytes(STARTS))
        one.ending = True
        while turns.crowded:
            await _turn()
        assert len(one.begun) == STARTS
        assert len(other.begun) == STARTS

    run(main())


def test_time_stands_still_for_whoever_sends_more_than_is_borne() -> None:
    async def main() -> None:
        one = _Connection("one", Turns())
        one.now = 5.0
        assert one.pace.leisure() == 5.0
        one.receive(bytes(2 * STARTS + 1))
        for one.now in (6.0, 7.0):
            assert one.pace.leisure() == 5.0
            await _turn()
        one.now = 8.0
        assert one.pace.leisure() == 6.0

    run(main())
