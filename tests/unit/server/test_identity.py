"""Who the server is on its port, through jumps of the clock, and whom it believes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle
from finial.core.errors import FinialError, MatchError, X509VerifyError
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.x509_profile import SVIDRequest
from finial.core.x509cert import Certificate
from finial.server.ca.issue import Authority
from finial.server.ca.orders import INITIALIZING, OrderError
from finial.server.identity import ServerIdentity
from finial.server.index.index import Index
from finial.server.store.records import BundleRecord, Change, ChangeKind
from support import forge
from support.authorities import DOMAIN, root
from support.clock import START, FixedChance, ManualClock

HOUR = timedelta(hours=1)
YEAR = timedelta(days=365)
FOREIGN = TrustDomain("b.test")


class Signer:
    """The authority, and what it has signed."""

    def __init__(self, clock: ManualClock) -> None:
        self.authority = Authority(DOMAIN, clock=clock, chance=FixedChance())
        self.authority.use(root("a", START - 2 * YEAR, 5 * YEAR), forge.key("a"))
        self.signed: list[Certificate] = []
        self.works = True

    def sign_svid(self, request: SVIDRequest, ttl: timedelta) -> tuple[Certificate, ...]:
        if not self.works:
            raise OrderError(INITIALIZING, "not now")
        chain = self.authority.sign_svid(request, ttl)
        self.signed.append(chain[0])
        return chain


@asynccontextmanager
async def _identity(
    signer: Signer, clock: ManualClock, index: Index, *admins: str
) -> AsyncIterator[ServerIdentity]:
    identity = ServerIdentity(
        signer,
        index,
        clock=clock,
        chance=FixedChance(),
        ttl=HOUR,
        admin_ids=[SpiffeID(each) for each in admins],
    )
    identity.start()
    running = asyncio.ensure_future(identity.run())
    try:
        yield identity
    finally:
        running.cancel()


def test_the_svid_is_renewed_at_half_of_its_life_and_after_jumps_of_the_clock() -> None:
    async def main() -> None:
        clock = ManualClock()
        signer = Signer(clock)
        async with _identity(signer, clock, Index(DOMAIN)) as identity:
            first = identity.context()
            assert identity.context() is first
            await clock.advance(HOUR / 2 - timedelta(minutes=1))
            assert len(signer.signed) == 1
            await clock.advance(timedelta(minutes=2))
            assert len(signer.signed) == 2
            assert identity.context() is not first
            for jump, count in ((YEAR, 3), (-YEAR, 4), (-YEAR, 5), (timedelta(minutes=1), 5)):
                clock.jump(jump)
                await clock.advance(timedelta(seconds=5))
                assert len(signer.signed) == count, jump
                assert signer.signed[-1].not_before <= clock.now() < signer.signed[-1].not_after

    asyncio.run(main())


def test_a_renewal_that_fails_is_made_later(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        clock = ManualClock()
        signer = Signer(clock)
        async with _identity(signer, clock, Index(DOMAIN)):
            signer.works = False
            await clock.advance(HOUR)
            assert len(signer.signed) == 1
            signer.works = True
            await clock.advance(timedelta(seconds=5))
            assert len(signer.signed) == 2

    asyncio.run(main())
    assert "the server's own SVID cannot be renewed and will be tried again" in caplog.messages


def _publish(index: Index, domain: TrustDomain, *authorities: Certificate) -> None:
    bundle = Bundle(trust_domain=domain, x509_authorities=authorities)
    record = BundleRecord(seq=len(index.bundles) + 1, bundle=bundle, data=b"")
    index.apply([Change(ChangeKind.BUNDLE, domain.name, record)], index.position + 1)


def _tainted(index: Index, tainted: Certificate, *authorities: Certificate) -> None:
    bundle = Bundle(trust_domain=DOMAIN, x509_authorities=authorities, tainted=frozenset({tainted}))
    record = BundleRecord(seq=1, bundle=bundle, data=b"")
    index.apply([Change(ChangeKind.BUNDLE, DOMAIN.name, record)], index.position + 1)


def test_the_svid_is_renewed_at_once_when_another_authority_begins_to_sign() -> None:
    async def main() -> None:
        clock, index = ManualClock(), Index(DOMAIN)
        signer = Signer(clock)
        first, second = root("a", START - 2 * YEAR, 5 * YEAR), root("b")
        _publish(index, DOMAIN, first, second)
        identity = ServerIdentity(signer, index, clock=clock, chance=FixedChance(), ttl=HOUR)
        identity.authority_changed(first)  # while the server starts: nobody is served yet
        assert not signer.signed
        identity.start()
        before = identity.context()
        signer.authority.use(second, forge.key("b"))
        identity.authority_changed(second)
        assert signer.signed[-1].signed_by(forge.key("b").public_key())
        assert identity.context() is not before
        _tainted(index, first, first, second)
        _publish(index, DOMAIN, second)
        assert len(signer.signed) == 2  # it does not rest on what is tainted and gone

    asyncio.run(main())


@pytest.mark.parametrize("what", ["tainted", "gone"])
def test_the_svid_is_renewed_at_once_when_what_it_rests_on_is_tainted_or_gone(what: str) -> None:
    async def main() -> None:
        clock, index = ManualClock(), Index(DOMAIN)
        signer = Signer(clock)
        first, second = root("a", START - 2 * YEAR, 5 * YEAR), root("b")
        _publish(index, DOMAIN, first, second)
        async with _identity(signer, clock, index) as identity:
            _publish(index, DOMAIN, first, second, root("c"))
            assert len(signer.signed) == 1
            signer.authority.use(second, forge.key("b"))
            if what == "tainted":
                _tainted(index, first, first, second)
            else:
                _publish(index, DOMAIN, second)
            assert len(signer.signed) == 2
            assert signer.signed[-1].signed_by(forge.key("b").public_key())
            assert identity.context() is identity.context()

    asyncio.run(main())


def test_a_renewal_that_was_ordered_and_fails_is_made_later() -> None:
    async def main() -> None:
        clock = ManualClock()
        signer = Signer(clock)
        async with _identity(signer, clock, Index(DOMAIN)) as identity:
            signer.works = False
            identity.authority_changed(root("b"))
            await clock.advance(timedelta(seconds=5))
            assert len(signer.signed) == 1
            signer.works = True
            await clock.advance(timedelta(seconds=5))
            assert len(signer.signed) == 2
            await clock.advance(timedelta(seconds=5))
            assert len(signer.signed) == 2

    asyncio.run(main())


def _refused(identity: ServerIdentity, leaf: forge.Made) -> type[FinialError]:
    with pytest.raises(FinialError) as caught:
        identity.verify((leaf.der,))
    return type(caught.value)


def test_members_of_the_own_domain_are_believed_and_of_others_administrators_alone() -> None:
    async def main() -> None:
        clock, index = ManualClock(forge.NOW), Index(DOMAIN)
        signer = Signer(clock)
        ours, theirs = forge.root("ours", DOMAIN), forge.root("theirs", FOREIGN)
        async with _identity(signer, clock, index, "spiffe://b.test/admin") as identity:
            own = forge.leaf(ours, "spiffe://a.test/web")
            assert _refused(identity, own) is X509VerifyError
            _publish(index, DOMAIN, ours.certificate)
            assert identity.verify((own.der,)).id == SpiffeID("spiffe://a.test/web")
            admin = forge.leaf(theirs, "spiffe://b.test/admin")
            assert _refused(identity, admin) is X509VerifyError
            _publish(index, FOREIGN, theirs.certificate)
            assert identity.verify((admin.der,)).id == SpiffeID("spiffe://b.test/admin")
            assert _refused(identity, forge.leaf(theirs, "spiffe://b.test/web")) is MatchError
            # An authority of one domain says nothing about another, whatever OpenSSL makes of the union.
            assert _refused(identity, forge.leaf(theirs, "spiffe://a.test/web")) is X509VerifyError
            assert _refused(identity, forge.leaf(ours, "spiffe://b.test/admin")) is X509VerifyError
            before = identity.context()
            _publish(index, TrustDomain("c.test"))
            assert identity.context() is before

    asyncio.run(main())


def test_an_authority_that_openssl_cannot_read_keeps_nobody_else_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        index = Index(DOMAIN)
        good, odd = forge.root("ours", DOMAIN).certificate, forge.unreadable_to_openssl(DOMAIN)
        _publish(index, DOMAIN, odd, good)
        async with _identity(Signer(clock := ManualClock()), clock, index) as identity:
            assert identity.context().get_ca_certs(binary_form=True) == [good.der]

    asyncio.run(main())
    (record,) = caplog.records
    assert "OpenSSL cannot read an authority" in record.message
