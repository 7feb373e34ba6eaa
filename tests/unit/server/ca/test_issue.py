from __future__ import annotations

from datetime import timedelta

import pytest

from finial.core.bundle import Bundle, BundleSet
from finial.core.errors import FinialError, Kind
from finial.core.ids import SpiffeID, server_id
from finial.core.keys import PublicKey
from finial.core.x509_profile import SVIDRequest
from finial.core.x509path import verify_certificates
from finial.server.ca.issue import Authority
from finial.server.ca.orders import OrderError
from support import forge
from support.authorities import DOMAIN, root
from support.clock import START, FixedChance, ManualClock

HOUR = timedelta(hours=1)
IDS = ("spiffe://a.test/web", "spiffe://a.test/spire/server", "spiffe://a.test/spire/agent/join_token/x")


def request(
    spiffe_id: str = IDS[0], key: PublicKey | None = None, dns_names: tuple[str, ...] = ()
) -> SVIDRequest:
    public_key = key or forge.key().public_key()
    return SVIDRequest(spiffe_id=SpiffeID(spiffe_id), public_key=public_key, dns_names=dns_names)


def authority(clock: ManualClock, *, active: bool = True) -> Authority:
    made = Authority(DOMAIN, clock=clock, chance=FixedChance())
    if active:
        made.use(root("A"), forge.key("A"))
    return made


def refusal(authority: Authority, request: SVIDRequest, ttl: timedelta = HOUR) -> FinialError:
    with pytest.raises(FinialError) as caught:
        authority.sign_svid(request, ttl)
    return caught.value


@pytest.mark.spec("X509-01", "X509-05", "X509-19", "X509-27", "X509-32")
@pytest.mark.parametrize("spiffe_id", IDS)
def test_whoever_it_is_for_an_svid_verifies_under_the_root(spiffe_id: str) -> None:
    clock = ManualClock()
    chain = authority(clock).sign_svid(request(spiffe_id), HOUR)
    assert len(chain) == 1
    bundle = Bundle(trust_domain=DOMAIN, x509_authorities=(root("A"),))
    assert verify_certificates(chain, BundleSet([bundle]), now=clock.now()).id.text == spiffe_id
    assert chain[0].not_after == START + HOUR
    assert chain[0].not_before == START - timedelta(seconds=10)


def test_names_and_serial_numbers() -> None:
    signer = authority(ManualClock())
    first, second = (signer.sign_svid(request(dns_names=("web", "db")), HOUR)[0] for _ in range(2))
    assert first.names.dns == ("web", "db")
    assert first.serial != second.serial


def test_no_svid_outlives_its_authority() -> None:
    clock = ManualClock(START + timedelta(hours=23, minutes=30))
    assert authority(clock).sign_svid(request(), HOUR)[0].not_after == root("A").not_after
    clock.jump(HOUR)
    expired = refusal(authority(clock), request())
    assert (expired.reason.id, expired.reason.kind) == ("issue-authority-expired", Kind.UNAVAILABLE)


def test_nothing_is_signed_before_the_first_activation() -> None:
    signer = authority(ManualClock(), active=False)
    error = refusal(signer, request())
    assert isinstance(error, OrderError)
    assert error.reason.kind is Kind.UNAVAILABLE
    assert error.message == "server is initializing"
    assert signer.certificate is None


def test_the_next_authority_takes_over() -> None:
    signer = authority(ManualClock())
    signer.use(root("B"), forge.key("B"))
    assert signer.certificate == root("B")
    chain = signer.sign_svid(request(), HOUR)
    assert chain[0].signed_by(forge.key("B").public_key())


@pytest.mark.spec("ID-46", "X509-06", "X509-13")
@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request("spiffe://b.test/web"), "issue-foreign-subject"),
        (request("spiffe://a.test"), "x509-root-id"),
        (request(dns_names=("-",)), "issue-dns-name"),
        (request(key=forge.key("weak", "rsa-1024").public_key()), "key-weak"),
    ],
)
def test_what_is_never_signed(asked: SVIDRequest, reason: str) -> None:
    assert refusal(authority(ManualClock()), asked).reason.id == reason


def test_a_lifetime_below_a_second() -> None:
    assert refusal(authority(ManualClock()), request(), timedelta(0)).reason.id == "issue-ttl"


def test_a_key_that_is_not_the_authoritys_signs_nothing() -> None:
    signer = authority(ManualClock())
    signer.use(root("A"), forge.key("B"))
    assert refusal(signer, request()).reason.id == "issue-key"


def test_what_it_shows_of_itself() -> None:
    signer = authority(ManualClock())
    assert signer.trust_domain == DOMAIN
    assert server_id(DOMAIN).text == IDS[1]
    assert repr(signer).startswith("Authority(a.test, Certificate('spiffe://a.test', serial 7, ")


def test_it_knows_when_the_last_svid_ends_of_what_it_alone_has_signed_by() -> None:
    clock = ManualClock()
    signer = authority(clock)
    assert signer.last_end(root("A")) == root("A").not_after  # it was used before, so nobody knows
    signer.sign_svid(request(), HOUR)
    assert signer.last_end(root("A")) == root("A").not_after
    signer.use(root("B"), forge.key("B"), first=True)
    assert signer.last_end(root("B")) == START
    ends = [signer.sign_svid(request(), ttl)[0].not_after for ttl in (HOUR, 3 * HOUR, 2 * HOUR)]
    assert signer.last_end(root("B")) == ends[1] == START + 3 * HOUR
    third = root("C", START + 48 * HOUR)
    signer.use(third, forge.key("C"), first=True)
    assert signer.last_end(root("B")) == ends[1]
    clock.jump(48 * HOUR)
    signer.use(third, forge.key("C"))
    assert signer.last_end(root("B")) == root("B").not_after  # long ended, and forgotten
