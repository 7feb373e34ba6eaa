"""Whatever is committed, killed, cut, restored or failed over, every agent comes to hold what is so.

Real servers and agents over a simulated network and clock. EXAMPLES says how many runs there are (`make soak`
has many); a run that fails prints its script, and how to have it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from support.sim_steps import Quiet, Step, small_bounds, steps
from support.sim_world import World

EXAMPLES = int(os.environ.get("EXAMPLES", "100"))


@pytest.fixture(autouse=True, scope="module")
def _silence() -> Iterator[None]:
    """What servers and agents log of their troubles is of no interest."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def play(seed: int, servers: int, script: Sequence[Step]) -> World:
    """Have a script happen."""
    with tempfile.TemporaryDirectory(prefix="finial-") as folder, small_bounds():
        world = World(Path(folder), seed, servers=servers)
        try:
            await world.begin()
            for step in script:
                world.note(str(step))
                await step.run(world)
                world.check()
            await Quiet(heartbeats=True).run(world)
            await world.end()
        except BaseException:
            note("\n".join(world.trace))
            raise
        finally:
            world.abandon()
    return world


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(
    seed=st.integers(0, 999),
    servers=st.integers(1, 2),
    acts=st.lists(st.lists(steps, min_size=1, max_size=12), max_size=10),
)
@pytest.mark.timeout(60 + EXAMPLES * 10)
def test_agents_hold_what_is_so(seed: int, servers: int, acts: Sequence[Sequence[Step]]) -> None:
    asyncio.run(play(seed, servers, [step for act in acts for step in act]))
