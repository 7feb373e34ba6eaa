"""How standards that are still to change are treated: they are opt-in, and each opt-in names its revision."""

from __future__ import annotations

import pytest

from finial.agent.config import AgentSettings
from finial.core import revision
from finial.core.bundle import Bundle
from finial.core.bundle_doc import write_bundle
from finial.runtime.config import Settings
from finial.runtime.config.declare import rows
from finial.server.config import ServerSettings
from support import forge

_INCUBATING = frozenset({"incubating.wit_svid"})


@pytest.mark.spec("STAB-02", "STAB-06")
@pytest.mark.parametrize("of", [ServerSettings, AgentSettings])
def test_what_is_incubating_has_a_setting_of_its_own_and_nothing_below_is_there(of: type[Settings]) -> None:
    named = {each.key for each in rows(of) if each.key.partition(".")[0] in {"incubating", "experimental"}}
    assert named == _INCUBATING


@pytest.mark.spec("STAB-01")
def test_the_revision_is_recorded() -> None:
    assert len(revision.STANDARDS_COMMIT) == 40
    assert revision.STANDARDS == "2026-07-01"


@pytest.mark.spec("STAB-03")
def test_a_bundle_without_opt_in_names_no_key_that_older_readers_refuse() -> None:
    assert b"wit-svid" not in write_bundle(forge.bundle(forge.A, forge.root()))
    assert Bundle(trust_domain=forge.A).wit_authorities == ()
