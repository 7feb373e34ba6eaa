"""What the core takes for what every peer does at each call, beside py-spiffe and go-spiffe in one run.

Microseconds of one thread, the fastest of five rounds. What a program keeps between two calls, such as a
bundle that is parsed already, is made before. py-spiffe has no verifier of chains, and no reader of a bundle
that has both kinds of keys.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter_ns
from typing import Any

import spiffe
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import read_bundle, write_bundle, write_jwks
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.jwtsvid import JWTRequest, issue_jwt, validate_jwt
from finial.core.token_authority import TokenAuthority
from finial.core.token_issuer import TokenIssuer
from finial.core.x509_profile import CARequest, Issuer, Order, SVIDRequest, issue_root, issue_svid
from finial.core.x509path import verify_x509
from interop.peers import PeerMissingError, build
from support.interop_process import PeerProcess
from support.judge import question

ROUNDS = 5
_DOMAIN = TrustDomain("example.org")
_ID = SpiffeID("spiffe://example.org/ns/shop/sa/checkout")
_AUDIENCE = "spiffe://example.org/ns/shop/sa/stock"
_DAY = timedelta(days=1)

Work = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One thing to do.

    Args:
        what: For the table.
        ours: Does it.
        pyspiffe: Does it there; None where it cannot.
        question: For the go-spiffe program.
        count: How often in a round, here.
    """

    what: str
    ours: Work
    pyspiffe: Work | None
    question: Mapping[str, Any]
    count: int


def cases(now: datetime) -> list[Case]:
    """Everything that is timed."""
    bundle, chain, token = _domain(now)
    bundles, document, keys = BundleSet([bundle]), write_bundle(bundle), write_jwks(bundle)
    tokens = write_bundle(Bundle(trust_domain=_DOMAIN, jwt_authorities=bundle.jwt_authorities))
    anchors = {_DOMAIN.name: [each.der for each in bundle.x509_authorities]}
    their_domain = spiffe.TrustDomain(_DOMAIN.name)
    their_keys = spiffe.JwtBundle.parse(their_domain, keys)
    return [
        Case(
            "parse a SPIFFE ID",
            partial(SpiffeID, _ID.text),
            partial(spiffe.SpiffeId, _ID.text),
            question("id", text=_ID.text.encode()),
            20_000,
        ),
        Case(
            "parse and verify a chain: leaf and root, P-256",
            partial(verify_x509, chain, bundles, now=now),
            None,
            question("chain", chain=chain, anchors=anchors, now=int(now.timestamp())),
            1_000,
        ),
        Case(
            "validate a JWT-SVID, ES256",
            lambda: validate_jwt(token, bundles, [_AUDIENCE], now=datetime.now(UTC)),
            partial(spiffe.JwtSvid.parse_and_validate, token, their_keys, {_AUDIENCE}),
            question("jwt", token=token, audience=[_AUDIENCE], keys={_DOMAIN.name: keys}),
            1_000,
        ),
        Case(
            "parse a bundle: two JWT keys",
            partial(read_bundle, _DOMAIN, tokens),
            partial(spiffe.JwtBundle.parse, their_domain, tokens),
            question("bundle", trust_domain=_DOMAIN.name, document=tokens),
            1_000,
        ),
        Case(
            "parse a bundle: two roots and two JWT keys",
            partial(read_bundle, _DOMAIN, document),
            None,
            question("bundle", trust_domain=_DOMAIN.name, document=document),
            1_000,
        ),
    ]


def _domain(now: datetime) -> tuple[Bundle, list[bytes], str]:
    """A bundle, a chain of two certificates without the root, and a token."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(5)]
    roots = [
        issue_root(
            CARequest(trust_domain=_DOMAIN, public_key=key.public_key()),
            Order(now=now, serial=number, ttl=_DAY),
            key=key,
        )
        for number, key in enumerate(keys[:2], 1)
    ]
    signers = [
        TokenAuthority(key_id=f"key-{number}", key=key.public_key(), expires_at=now + _DAY)
        for number, key in enumerate(keys[2:4])
    ]
    bundle = Bundle(
        trust_domain=_DOMAIN,
        x509_authorities=tuple(roots),
        jwt_authorities=tuple(signers),
        sequence=7,
        refresh_hint=timedelta(minutes=5),
    )
    request = SVIDRequest(spiffe_id=_ID, public_key=keys[4].public_key())
    order = Order(now=now, serial=3, ttl=timedelta(hours=1))
    leaf = issue_svid(request, Issuer(_DOMAIN, roots[0]), order, key=keys[0])
    asked = JWTRequest(spiffe_id=_ID, audience=(_AUDIENCE,))
    issuer = TokenIssuer(_DOMAIN, signers[0])
    svid = issue_jwt(asked, issuer, key=keys[2], now=now, ttl=timedelta(hours=1))
    return bundle, [leaf.der], svid.token


def timed(work: Work, count: int) -> float:
    """Nanoseconds of one call, the fastest of the rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        begin = perf_counter_ns()
        for _ in range(count):
            work()
        best = min(best, (perf_counter_ns() - begin) / count)
    return best


async def _ask_go(found: list[Case]) -> list[float] | None:
    try:
        program = build("spiffepeer")
    except PeerMissingError as error:
        print(f"go-spiffe is not here: {error}")
        return None
    async with PeerProcess(program) as peer:
        answer = await peer.order("time", questions=[case.question for case in found], count=2_000)
    return [float(each) for each in answer["nanoseconds"]]


async def main(*, quick: bool) -> None:
    """Measure and print."""
    found = cases(datetime.now(UTC))
    theirs = await _ask_go(found)
    print(f"{'microseconds':<52}{'py-spiffe':>11}{'go-spiffe':>11}{'Finial':>9}   py/ours   go/ours")
    for number, case in enumerate(found):
        count = 10 if quick else case.count
        ours = timed(case.ours, count)
        py = None if case.pyspiffe is None else timed(case.pyspiffe, count)
        go = None if theirs is None else theirs[number]
        figures = "".join(f"{_shown(each):>{width}}" for each, width in ((py, 11), (go, 11), (ours, 9)))
        print(f"{case.what:<52}{figures}{_ratio(py, ours):>10}{_ratio(go, ours):>10}")


def _shown(nanoseconds: float | None) -> str:
    return "-" if nanoseconds is None else f"{nanoseconds / 1_000:.2f}"


def _ratio(theirs: float | None, ours: float) -> str:
    return "-" if theirs is None else f"{theirs / ours:.2f}x"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few of each: shows that it runs")
    asyncio.run(main(quick=parser.parse_args().quick))
