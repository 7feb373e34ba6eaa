"""A stock SPIRE agent under our server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from support import scenarios
from support.finial_process import FinialServer
from support.spire_process import SpireAgent


@pytest.mark.parametrize("scenario", scenarios.EVERY, ids=lambda each: each.__name__)
def test_spire_agent_under_our_server(
    scenario: scenarios.Scenario, spire_agent: Path, spiffepeer: Path, sockets: Path
) -> None:
    server = FinialServer(sockets / "s", "--agent-ttl=30s")
    make_agent = partial(SpireAgent, spire_agent, sockets / "a")
    scenarios.run(scenario, server, make_agent, spiffepeer=spiffepeer)
