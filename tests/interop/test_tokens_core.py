"""JWT-SVIDs between our core and the SPIFFE libraries of other languages, both ways."""

from __future__ import annotations

from datetime import timedelta

import pytest

from finial.core.algorithms import Algorithm, algorithm_of
from finial.core.bundle import BundleSet
from finial.core.bundle_doc import write_jwks
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTRequest, issue_jwt, validate_jwt
from finial.core.keys import public_key_der, write_private_key
from finial.core.token_issuer import TokenIssuer
from finial.runtime.clock import SystemClock
from support import forge, tokens
from support.judge import GO, JAVA, PYTHON, Judge, Judging, Library, keys_of

NOW = SystemClock().now()  # the libraries look at the real clock
TTL = timedelta(hours=12)  # the last of these tests may run long after they were collected
WEB = SpiffeID(forge.WEB)
KINDS = {"ec-p256": "ES256", "ec-p384": "ES384", "ec-p521": "ES512", "rsa-2048": "RS256"}
SIGNING = {
    "ec-p256": ("ES256",),
    "ec-p384": ("ES384",),
    "ec-p521": ("ES512",),
    "rsa-2048": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
}


def _issued(kind: str, *audience: str, kid: str = "") -> str:
    authority, key = tokens.authority(kid or kind, kind)
    request = JWTRequest(
        spiffe_id=WEB, audience=audience or (tokens.AUDIENCE,), jti="0123456789abcdef", claims={"role": "db"}
    )
    return issue_jwt(request, TokenIssuer(forge.A, authority), key=key, now=NOW, ttl=TTL).token


def _bundles() -> BundleSet:
    return tokens.bundles(*(tokens.authority(kind, kind)[0] for kind in KINDS))


def _keys(bundles: BundleSet) -> dict[str, bytes]:
    return {domain.name: write_jwks(bundle) for domain, bundle in bundles.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_library_accepts_our_tokens(judging: Judging, library: Library, kind: str) -> None:
    async def main(judge: Judge) -> None:
        asked = {"token": _issued(kind), "audience": [tokens.AUDIENCE], "keys": _keys(_bundles())}
        if KINDS[kind] not in library.algorithms:
            assert "unsupported" in await judge.refuse("jwt", **asked)
            return
        found = await judge.accept("jwt", **asked)
        assert found["spiffe_id"] == forge.WEB
        assert found["audience"] == [tokens.AUDIENCE]
        assert found["expires_at"] == int((NOW + TTL).timestamp())

    judging(main)


def test_a_library_finds_one_audience_among_several(judging: Judging, library: Library) -> None:
    async def main(judge: Judge) -> None:
        token, keys = _issued("ec-p256", "reports", "bills"), _keys(_bundles())
        for audience in (["reports"], ["bills"], ["reports", "bills"]):
            found = await judge.accept("jwt", token=token, audience=audience, keys=keys)
            assert sorted(found["audience"]) == ["bills", "reports"]
        verdict = await judge.ask("jwt", token=token, audience=["bills", "letters"], keys=keys)
        assert verdict["ok"] is library.any_audience

    judging(main)


@pytest.mark.parametrize("what", ["expired", "audience", "signature", "payload", "domain", "unknown key"])
def test_a_library_refuses_what_is_wrong_with_our_tokens(judging: Judging, what: str) -> None:
    token, bundles, audience = _issued("ec-p256"), _bundles(), tokens.AUDIENCE
    head, payload, signature = token.split(".")
    if what == "expired":
        token = tokens.jwt(kid="ec-p256", exp=int(NOW.timestamp()) - 3600)
    elif what == "audience":
        audience = "Reports"
    elif what == "signature":
        token = f"{head}.{payload}.{signature[:9]}{'A' if signature[9] != 'A' else 'B'}{signature[10:]}"
    elif what == "payload":
        token = f"{head}.{_issued('ec-p256', 'other').split('.')[1]}.{signature}"
        audience = "other"
    elif what == "domain":
        bundles = tokens.bundles(*bundles[forge.A].jwt_authorities, domain=forge.B)
    else:
        bundles = tokens.bundles(tokens.authority("rsa-2048", "rsa-2048")[0])

    async def main(judge: Judge) -> None:
        asked = {"token": token, "audience": [audience], "keys": _keys(bundles)}
        assert await judge.refuse("jwt", **asked)

    judging(main)


def test_a_library_reads_our_keys(judging: Judging) -> None:
    bundle = _bundles()[forge.A]

    async def main(judge: Judge) -> None:
        found = await judge.accept("keys", trust_domain="a.test", document=write_jwks(bundle))
        assert keys_of(found["jwt"]) == {
            each.key_id: public_key_der(each.key) for each in bundle.jwt_authorities
        }

    judging(main)


@pytest.mark.parametrize("library", [GO, JAVA, PYTHON], ids=lambda each: each.name, indirect=True)
@pytest.mark.parametrize("kind", SIGNING)
def test_we_accept_what_the_libraries_for_tokens_sign(judging: Judging, kind: str) -> None:
    key = tokens.authority(kind, kind)[1]
    end = int((NOW + TTL).timestamp())

    async def main(judge: Judge) -> None:
        for algorithm in SIGNING[kind]:
            for audience in (tokens.AUDIENCE, [tokens.AUDIENCE, "other"]):
                claims = {"sub": forge.WEB, "aud": audience, "exp": end, "list": [1, {"a": None}]}
                made = await judge.accept(
                    "sign", key=write_private_key(key), kid=kind, alg=algorithm, claims=claims
                )
                proven = validate_jwt(made["token"], _bundles(), [tokens.AUDIENCE], now=NOW)
                assert proven.id == WEB
                assert proven.svid.algorithm == Algorithm(algorithm)
                assert proven.svid.claims["list"] == (1, {"a": None})

    judging(main)


@pytest.mark.parametrize("kind", SIGNING)
def test_a_library_accepts_each_algorithm_that_it_knows(
    judging: Judging, library: Library, kind: str
) -> None:
    key = tokens.authority(kind, kind)[1]
    assert algorithm_of(key) == SIGNING[kind][0]
    body = {"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": int((NOW + TTL).timestamp())}

    async def main(judge: Judge) -> None:
        for algorithm in SIGNING[kind]:
            header = {"alg": algorithm, "kid": kind}
            token = tokens.signed(header, body, key, Algorithm(algorithm))
            verdict = await judge.ask("jwt", token=token, audience=[tokens.AUDIENCE], keys=_keys(_bundles()))
            assert verdict["ok"] is (algorithm in library.algorithms), verdict

    judging(main)
