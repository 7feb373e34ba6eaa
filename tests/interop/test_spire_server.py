"""Our agent under a stock SPIRE server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from support import scenarios
from support.finial_process import FinialAgent
from support.spire_process import SpireServer, SpireTTL


@pytest.mark.parametrize("scenario", scenarios.EVERY, ids=lambda each: each.__name__)
def test_our_agent_under_spire_server(
    scenario: scenarios.Scenario, spire_server: Path, spiffepeer: Path, sockets: Path
) -> None:
    server = SpireServer(spire_server, sockets / "s", ttl=SpireTTL(agent="30s"))
    make_agent = partial(FinialAgent, sockets / "a")
    scenarios.run(scenario, server, make_agent, spiffepeer=spiffepeer)
