"""SPIRE's server and agent with go-spiffe and py-spiffe: what ours is measured by holds without it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from support import scenarios
from support.spire_process import SpireAgent, SpireServer, SpireTTL


@pytest.mark.parametrize("scenario", scenarios.EVERY, ids=lambda each: each.__name__)
def test_spire_with_itself(
    scenario: scenarios.Scenario, spire_server: Path, spire_agent: Path, spiffepeer: Path, sockets: Path
) -> None:
    server = SpireServer(spire_server, sockets / "s", ttl=SpireTTL(agent="30s"))
    make_agent = partial(SpireAgent, spire_agent, sockets / "a")
    scenarios.run(scenario, server, make_agent, spiffepeer=spiffepeer)
