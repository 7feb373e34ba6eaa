"""go-spiffe and py-spiffe at our agent, which stands under our server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from support import scenarios
from support.finial_process import FinialAgent, FinialServer


@pytest.mark.parametrize("scenario", scenarios.EVERY, ids=lambda each: each.__name__)
def test_ours_with_itself(scenario: scenarios.Scenario, spiffepeer: Path, sockets: Path) -> None:
    server = FinialServer(sockets / "s", "--agent-ttl=30s")
    make_agent = partial(FinialAgent, sockets / "a")
    scenarios.run(scenario, server, make_agent, spiffepeer=spiffepeer)
