from __future__ import annotations

from datetime import timedelta

from finial.agent.holdings import Held, Holdings
from finial.core.x509svid import X509SVID
from support import forge
from support.forge import NOW

HOUR = timedelta(hours=1)
ROOT, OTHER = forge.root(), forge.root("other")
NAMES = [(each.certificate.subject_key_id or b"").hex() for each in (ROOT, OTHER)]


def held(root: forge.Made = ROOT, life: timedelta = HOUR) -> Held:
    leaf = forge.leaf(root)
    svid = X509SVID((leaf.certificate,), leaf.key)
    return Held(svid, 0, root.certificate, NOW + life, NOW + life / 2)


def test_what_rests_on_whom_is_known_as_svids_come_and_go() -> None:
    one = Holdings()
    one.put("a", held())
    one.put("b", held())
    one.put("c", held(OTHER))
    assert one.resting == {NAMES[0]: 2, NAMES[1]: 1}
    assert one.resting_on(ROOT.certificate) == {"a", "b"}
    one.put("a", held(OTHER))
    assert one.resting == {NAMES[0]: 1, NAMES[1]: 2}
    one.drop("b")
    one.drop("b")
    assert one.resting == {NAMES[1]: 2}
    assert one.resting_on(ROOT.certificate) == frozenset()
    assert set(one.authorities) == {OTHER.certificate}


def test_the_version_rises_when_what_rests_on_whom_changes_and_not_else() -> None:
    one = Holdings()
    one.put("a", held())
    version = one.version
    one.put("a", held(life=2 * HOUR))
    assert one.version == version
    one.put("a", held(OTHER))
    assert one.version > version
    version = one.version
    one.clear()
    assert one.version > version
    assert not one.resting


def test_an_authority_without_a_key_id_is_not_counted() -> None:
    one = Holdings()
    nameless = forge.root("nameless", identified=False)
    one.put("a", held(nameless))
    assert not one.resting
    assert one.resting_on(nameless.certificate) == {"a"}
    assert one.ended(NOW + HOUR, 9) == ["a"]


def test_ends() -> None:
    one = Holdings()
    assert (one.first_end(), one.last_end()) == (None, None)
    for number in range(5):
        one.put(f"e{number}", held(life=HOUR * (number + 1)))
    assert (one.first_end(), one.last_end()) == (NOW + HOUR, NOW + 5 * HOUR)
    one.put("e4", held(life=HOUR / 2))
    assert (one.first_end(), one.last_end()) == (NOW + HOUR / 2, NOW + 4 * HOUR)
    assert sorted(one.ended(NOW + 3 * HOUR, 3) + one.ended(NOW + 3 * HOUR, 9)) == ["e0", "e1", "e2", "e4"]
    assert one.get("e0") is None
    assert one.resting == {NAMES[0]: 1}
