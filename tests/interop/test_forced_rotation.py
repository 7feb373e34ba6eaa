"""The root is rotated by force under fifty talking workloads, half of them behind a stock SPIRE agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.rotating_root import Plan, rotate


@pytest.mark.timeout(400)
def test_no_handshake_fails_when_the_root_is_rotated_by_force(
    spire_agent: Path, spiffepeer: Path, sockets: Path
) -> None:
    plan = Plan(rotations=2, rotation_seconds=120, spiffepeer=spiffepeer, spire_agent=spire_agent)
    asyncio.run(rotate(sockets, plan))
