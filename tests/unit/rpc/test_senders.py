"""Tasks that wait for room on their streams."""

from __future__ import annotations

from finial.rpc.senders import Senders
from support.rpc import run


def test_whose_stream_has_room_goes_on() -> None:
    async def main() -> None:
        senders = Senders()
        waiters = {stream_id: senders.wait(stream_id) for stream_id in (1, 3, 5)}
        senders.look(lambda stream_id: stream_id == 3)
        assert [stream_id for stream_id, waiter in waiters.items() if waiter.done()] == [1, 5]
        assert len(senders) == 1
        senders.wake(3)
        assert waiters[3].done()
        assert not senders

    run(main())


def test_all_who_wait_for_one_stream_go_on_but_those_who_gave_up() -> None:
    async def main() -> None:
        senders = Senders()
        gone, left, last = senders.wait(1), senders.wait(1), None
        gone.cancel()
        last = senders.wait(1)
        left.cancel()
        senders.wake(1)
        senders.wake(1)
        assert last.done()
        assert not last.cancelled()

    run(main())
