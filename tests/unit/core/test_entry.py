from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from finial.core.entry import RegistrationEntry
from finial.core.errors import EntryError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector
from support.forge import NOW

UNIX, DOCKER = Selector("unix", "uid:1"), Selector("docker", "label:x")


def entry(**changes: object) -> RegistrationEntry:
    settings: dict[str, object] = {
        "id": "web-1",
        "spiffe_id": SpiffeID("spiffe://a.test/web"),
        "parent_id": SpiffeID("spiffe://a.test/spire/agent/x"),
        "selectors": (UNIX,),
        **changes,
    }
    return RegistrationEntry(**settings)  # type: ignore[arg-type]


def faults(**changes: object) -> list[tuple[str, str]]:
    with pytest.raises(EntryError) as caught:
        entry(**changes)
    return [(finding.where, finding.reason.id) for finding in caught.value.findings]


def test_a_server_makes_an_entry_its_own_without_judging_it_again() -> None:
    given = entry(revision=7, hint="h", federates_with=(TrustDomain("b.test"),), dns_names=("a", "b"))
    assert given.made(NOW) == replace(given, created_at=NOW, revision=0)
    assert (given.created_at, given.revision) == (None, 7)


def test_a_plain_entry() -> None:
    made = entry()
    assert made.trust_domain == TrustDomain("a.test")
    made.check_domain(TrustDomain("a.test"))
    assert hash(made) == hash(entry())
    assert made == entry()


def test_sets_are_kept_in_one_order() -> None:
    made = entry(
        selectors=(UNIX, DOCKER, UNIX),
        federates_with=(TrustDomain("c"), TrustDomain("b"), TrustDomain("c")),
        dns_names=("z.test", "a.test", "z.test"),
    )
    assert made.selectors == (DOCKER, UNIX)
    assert [domain.name for domain in made.federates_with] == ["b", "c"]
    assert made.dns_names == ("z.test", "a.test")
    assert made.similar(entry(id="other", selectors=(DOCKER, UNIX)))
    assert not made.similar(entry())


@pytest.mark.parametrize(
    ("changes", "where", "reason"),
    [
        ({"id": ""}, "id", "entry-id"),
        ({"id": "x" * 256}, "id", "entry-id"),
        ({"id": "a b"}, "id", "entry-id"),
        ({"id": "a\n"}, "id", "entry-id"),
        ({"spiffe_id": SpiffeID("spiffe://a.test")}, "spiffe_id", "entry-path-empty"),
        ({"spiffe_id": SpiffeID("spiffe://a.test/spire/x")}, "spiffe_id", "entry-path-reserved"),
        ({"parent_id": SpiffeID("spiffe://a.test")}, "parent_id", "entry-path-empty"),
        ({"parent_id": SpiffeID("spiffe://b.test/x")}, "parent_id", "entry-foreign"),
        ({"selectors": ()}, "selectors", "entry-no-selectors"),
        ({"x509_svid_ttl": timedelta(seconds=-1)}, "x509_svid_ttl", "entry-ttl"),
        ({"jwt_svid_ttl": timedelta(milliseconds=1)}, "jwt_svid_ttl", "entry-ttl"),
        ({"federates_with": (TrustDomain("a.test"),)}, "federates_with", "entry-federates-with"),
        ({"dns_names": ("bad.",)}, "dns_names", "entry-dns-name"),
        ({"hint": "x" * 1025}, "hint", "entry-hint"),
        ({"revision": -1}, "revision_number", "entry-number"),
        ({"store_svid": True, "selectors": (UNIX, DOCKER)}, "selectors", "entry-store-selectors"),
        ({"store_svid": True, "disable_x509_svid_prefetch": True}, "store_svid", "entry-store-prefetch"),
    ],
)
def test_what_an_entry_may_not_be(changes: dict[str, object], where: str, reason: str) -> None:
    assert faults(**changes) == [(where, reason)]


def test_every_fault_is_named() -> None:
    assert len(faults(id="", selectors=(), hint="x" * 2000)) == 3


def test_the_types_of_selectors_are_shown_fit_for_a_terminal() -> None:
    with pytest.raises(EntryError) as caught:
        entry(store_svid=True, selectors=(UNIX, Selector("\x1b[0m", "x")))
    assert str(caught.value).isprintable()


def test_limits_are_inclusive() -> None:
    made = entry(id="x" * 255, hint="x" * 1024, store_svid=True, x509_svid_ttl=timedelta(seconds=1))
    assert made.store_svid


def test_the_servers_domain() -> None:
    with pytest.raises(EntryError) as caught:
        entry().check_domain(TrustDomain("b.test"))
    assert caught.value.reason.id == "entry-foreign"


def test_expiry() -> None:
    assert not entry().expired(NOW)
    assert not entry(expires_at=NOW + timedelta(seconds=1)).expired(NOW)
    assert entry(expires_at=NOW).expired(NOW)
