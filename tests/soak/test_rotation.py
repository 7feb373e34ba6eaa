"""A new mTLS connection every 50 ms through several authorities: no handshake fails. `make soak` only."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from support.rotation import Plan, rotate

CA_SECONDS = int(os.environ.get("CA_SECONDS", "180"))
ACTIVATIONS = int(os.environ.get("ACTIVATIONS", "3"))

_SVID_SECONDS = 60


@pytest.mark.timeout(CA_SECONDS * (ACTIVATIONS + 2))
def test_no_handshake_fails_while_all_rotates(sockets: Path) -> None:
    print(f"CA_SECONDS={CA_SECONDS} ACTIVATIONS={ACTIVATIONS} SVIDs of {_SVID_SECONDS} s")
    asyncio.run(rotate(sockets, Plan(CA_SECONDS, _SVID_SECONDS, ACTIVATIONS)))
