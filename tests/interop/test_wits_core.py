"""WIT-SVIDs between our core and go-spiffe, which asks for no proof of possession; others know none."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from finial.core.algorithms import Algorithm
from finial.core.bundle_doc import write_wit_jwks
from finial.core.ids import SpiffeID
from finial.core.keys import public_key_der
from finial.core.token_issuer import TokenIssuer
from finial.core.witsvid import WITRequest, issue_wit
from finial.runtime.clock import SystemClock
from support import forge, tokens
from support.judge import GO, Judge, Judging

NOW = SystemClock().now()
TTL = timedelta(hours=12)  # the last of these tests may run long after they were collected
WEB = SpiffeID(forge.WEB)
KINDS = ("ec-p256", "ec-p384", "ec-p521", "rsa-2048")

pytestmark = pytest.mark.parametrize("library", [GO], ids=["go-spiffe"], indirect=True)


def _issued(kind: str, own: str, algorithm: Algorithm | None = None) -> str:
    authority, key = tokens.authority(kind, kind)
    request = WITRequest(
        spiffe_id=WEB,
        public_key=forge.key("own", own).public_key(),
        algorithm=algorithm,
        jti="0123456789abcdef",
    )
    return issue_wit(request, TokenIssuer(forge.A, authority), key=key, now=NOW, ttl=TTL).token


def _keys(*kinds: str) -> dict[str, bytes]:
    bundle = tokens.bundles(wit=tuple(tokens.authority(kind, kind)[0] for kind in kinds))[forge.A]
    return {forge.A.name: write_wit_jwks(bundle)}


@pytest.mark.parametrize("own", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_go_spiffe_accepts_our_tokens(judging: Judging, kind: str, own: str) -> None:
    async def main(judge: Judge) -> None:
        found = await judge.accept("wit", token=_issued(kind, own), keys=_keys(*KINDS))
        assert found["spiffe_id"] == forge.WEB
        assert found["kid"] == kind
        assert found["expires_at"] == int((NOW + TTL).timestamp())
        assert base64.b64decode(found["key"]) == public_key_der(forge.key("own", own).public_key())

    judging(main)


def test_go_spiffe_accepts_each_algorithm_of_the_workloads_key(judging: Judging) -> None:
    async def main(judge: Judge) -> None:
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
            token = _issued("ec-p256", "rsa-2048", Algorithm(algorithm))
            assert await judge.accept("wit", token=token, keys=_keys("ec-p256"))

    judging(main)


def test_go_spiffe_takes_no_token_of_another_kind_or_key(judging: Judging) -> None:
    bearer = tokens.jwt(kid="ec-p256", exp=int((NOW + TTL).timestamp()))
    keys = _keys("ec-p256")

    async def main(judge: Judge) -> None:
        assert "type" in await judge.refuse("wit", token=bearer, keys=keys)
        token = _issued("ec-p256", "ec-p256")
        assert "type" in await judge.refuse("jwt", token=token, audience=[tokens.AUDIENCE], keys=keys)
        assert "no WIT authority" in await judge.refuse("wit", token=token, keys=_keys("ec-p384"))

    judging(main)
