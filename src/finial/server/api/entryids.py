"""What entries are called that nobody named."""

from __future__ import annotations

from finial.runtime.chance import Chance
from finial.runtime.clock import Clock

_DRAWN = 10  # bytes, of which six bits say what kind of UUID it is


def new_id(clock: Clock, chance: Chance) -> str:
    """A UUID of version 7: the millisecond, and 74 random bits.

    It is no secret, and an entry says when it was created in any case. Those that are made together stand
    together where the database keeps its ids in order: then a batch changes two pages of that and not fifty.

    Args:
        clock: Says which millisecond; one that was set back makes ids that are as good.
        chance: Draws the rest.
    """
    drawn = bytearray(chance.token(_DRAWN))
    drawn[0] = drawn[0] & 0x0F | 0x70  # version 7
    drawn[2] = drawn[2] & 0x3F | 0x80  # the variant
    text = max(int(clock.now().timestamp() * 1000), 0).to_bytes(6, "big").hex() + drawn.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
