"""The root is rotated by force under fifty talking workloads, several times. `make soak` only."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from interop.peers import require
from support.rotating_root import Plan, rotate

ROTATIONS = int(os.environ.get("ROTATIONS", "5"))

_ROTATION_SECONDS = 120


@pytest.mark.timeout(_ROTATION_SECONDS * (ROTATIONS + 2))
def test_no_handshake_fails_with_half_behind_a_stock_spire_agent(sockets: Path) -> None:
    plan = Plan(
        ROTATIONS,
        _ROTATION_SECONDS,
        spiffepeer=require("spiffepeer"),
        spire_agent=require("spire_agent"),
        stock_pace=True,
    )
    asyncio.run(rotate(sockets, plan))


@pytest.mark.timeout(_ROTATION_SECONDS * (ROTATIONS + 2))
def test_no_handshake_fails_with_all_behind_our_agent(sockets: Path) -> None:
    asyncio.run(rotate(sockets, Plan(ROTATIONS, _ROTATION_SECONDS)))
