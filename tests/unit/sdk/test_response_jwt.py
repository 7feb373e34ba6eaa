"""What messages of the JWT profile say, good and bad."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from finial.core.errors import TokenVerifyError
from finial.core.ids import SpiffeID
from finial.sdk import HintError, JWTBundles, ResponseError, WorkloadAPIError, by_hint
from finial.sdk.response_jwt import (
    ValidatedJWT,
    audiences_of,
    read_jwt_bundles,
    read_jwt_svids,
    read_validated,
)
from finial.wire.gen import google_protobuf as well_known
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.fake_workload import jwt_keys, jwts, key_set, one_jwt

OTHER = "spiffe://a.test/other"
K1 = tokens.authority("k1")[0]
K2 = tokens.authority("k2", "rsa-2048")[0]


def findings(message: pb.JWTSVIDResponse, *audience: str, wanted: str = "") -> list[str]:
    with pytest.raises(ResponseError) as caught:
        read_jwt_svids(message, audience or (tokens.AUDIENCE,), SpiffeID(wanted) if wanted else None)
    told = [str(found) for found in caught.value.findings]
    assert not any(each.svid and each.svid in line for each in message.svids for line in told)
    return told


def test_tokens_come_in_the_agents_order() -> None:
    answer = read_jwt_svids(jwts(one_jwt(hint="x"), one_jwt(uri=OTHER)), (tokens.AUDIENCE,), None)
    assert [(svid.id.text, svid.hint) for svid in answer.value] == [(forge.WEB, "x"), (OTHER, "")]
    assert answer.passed_over == ()
    assert by_hint("x")(answer.value).id.text == forge.WEB
    with pytest.raises(HintError, match="no SVID has the hint 'y'; there are: 'x', one without"):
        by_hint("y")(answer.value)


def test_a_second_token_of_one_hint_is_passed_over() -> None:
    message = jwts(one_jwt(hint="x"), one_jwt(uri=OTHER, hint="x"), one_jwt(), one_jwt())
    answer = read_jwt_svids(message, (tokens.AUDIENCE,), None)
    assert [svid.id.text for svid in answer.value] == [forge.WEB, forge.WEB, forge.WEB]
    assert [str(found) for found in answer.passed_over] == ["svids[1]: a second SVID with the hint 'x'"]


def test_an_answer_with_what_was_not_asked_for_is_refused_whole() -> None:
    assert findings(jwts()) == ["svids: the message holds no SVID"]
    message = jwts(one_jwt(), pb.JWTSVID(), one_jwt("x.y"), one_jwt(tokens.jwt(sub=OTHER)))
    assert findings(message) == [
        "svids[1]: the field spiffe_id is empty",
        "svids[1]: the field svid is empty",
        "svids[2]: the token has 2 parts, not three",
        f"svids[3]: the SVID is of {OTHER}, and the message says '{forge.WEB}'",
    ]
    assert findings(jwts(one_jwt()), "other", tokens.AUDIENCE) == ["svids[0]: the SVID is not for 'other'"]
    assert findings(jwts(one_jwt(), one_jwt(uri=OTHER)), wanted=OTHER) == [
        f"svids[0]: the SVID is of {forge.WEB}, and {OTHER} was asked for"
    ]


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "\u00fc.b.c",
        "x" * 100_000,
        tokens.jwt(exp=...),
        tokens.jwt(header={"alg": "none"}),
    ],
)
def test_garbage_for_a_token_is_a_finding(token: str) -> None:
    found = findings(jwts(pb.JWTSVID(spiffe_id=forge.WEB, svid=token)))
    assert len(found) == 1


def test_audiences_are_named_each_once() -> None:
    assert audiences_of(["b", "a", "b"]) == ("b", "a")
    for given in ([], [""], ["a", ""]):
        with pytest.raises(WorkloadAPIError, match="without an audience") as caught:
            audiences_of(given)
        assert caught.value.reason.hint
    with pytest.raises(WorkloadAPIError, match="half a character"):
        audiences_of(["a", "\ud800"])


def struct(**claims: object) -> well_known.Struct:
    message = well_known.Struct()
    message.update(cast("Any", claims))
    return message


def validated(spiffe_id: str = forge.WEB, **claims: object) -> pb.ValidateJWTSVIDResponse:
    body = {"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": tokens.SECONDS, **claims}
    return pb.ValidateJWTSVIDResponse(spiffe_id=spiffe_id, claims=struct(**tokens.without(body)))


def test_what_the_agent_has_validated() -> None:
    answer = read_validated(validated(level={"deep": [1, 2.5, None, True, "x"]}), tokens.AUDIENCE)
    found = answer.value
    assert found.id == SpiffeID(forge.WEB)
    assert found.claims["aud"] == (tokens.AUDIENCE,)
    assert found.claims["exp"] == tokens.SECONDS
    assert type(found.claims["exp"]) is int
    level = found.claims["level"]
    assert isinstance(level, dict) is False
    assert level == {"deep": (1, 2.5, None, True, "x")}
    assert "claims" not in repr(found)
    assert read_validated(validated(aud=tokens.AUDIENCE), tokens.AUDIENCE).value.id == found.id


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (pb.ValidateJWTSVIDResponse(spiffe_id=forge.WEB), ["the field claims is empty"]),
        (
            pb.ValidateJWTSVIDResponse(),
            ["the field spiffe_id is empty", "the field claims is empty"],
        ),
        (validated("spiffe://A.test/x"), None),
        (validated(sub=OTHER), [f"claims: they are not those of {forge.WEB}"]),
        (validated(sub=...), [f"claims: they are not those of {forge.WEB}"]),
        (validated(aud=["x"]), ["claims: they are not those of a token for 'reports'"]),
        (validated(aud=...), ["claims: they are not those of a token for 'reports'"]),
        (validated(exp=float("nan")), ["claims: a number is infinite, or is none"]),
    ],
)
def test_a_validation_that_contradicts_itself_is_refused(
    message: pb.ValidateJWTSVIDResponse, told: list[str] | None
) -> None:
    with pytest.raises(ResponseError) as caught:
        read_validated(message, tokens.AUDIENCE)
    assert told is None or [str(found) for found in caught.value.findings] == told


def test_validated_tokens_are_values() -> None:
    one = ValidatedJWT(SpiffeID(forge.WEB), {"sub": forge.WEB})
    assert one == ValidatedJWT(SpiffeID(forge.WEB), {"sub": forge.WEB})


def test_bundles_validate_tokens_of_their_own_domain() -> None:
    answer = read_jwt_bundles(jwt_keys(a=key_set(K1, K2), b=key_set()))
    bundles = answer.value
    assert answer.passed_over == ()
    assert [domain.name for domain in bundles] == ["a.test", "b.test"]
    assert bundles.authorities(forge.A) == (K1, K2)
    for token in (tokens.jwt(), tokens.jwt(kid="k2", kind="rsa-2048")):
        assert bundles.validate(token, tokens.AUDIENCE, now=tokens.NOW).id.text == forge.WEB
    with pytest.raises(TokenVerifyError, match="holds no key"):
        bundles.validate(tokens.jwt(sub="spiffe://b.test/x"), tokens.AUDIENCE, now=tokens.NOW)


def entry(name: str, /, **changes: object) -> dict[str, object]:
    (found,) = json.loads(key_set(tokens.authority(name)[0]))["keys"]
    return tokens.without({**found, **changes})


def passed_over(*entries: object) -> tuple[JWTBundles, list[str]]:
    answer = read_jwt_bundles(jwt_keys(a=json.dumps({"keys": entries}).encode()))
    assert all(found.where == "bundle of 'spiffe://a.test'" for found in answer.passed_over)
    return answer.value, [found.message for found in answer.passed_over]


@pytest.mark.parametrize("use", ["sig", "jwt-svid", ...])
def test_a_key_may_say_its_use_or_leave_it_out(use: object) -> None:
    bundles, told = passed_over(entry("k1", use=use))
    assert bundles.authorities(forge.A) == (K1,)
    assert told == []


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (entry("k2", use="wit-svid"), "it has keys of the use wit-svid"),
        (entry("k2", use="enc"), "keys[0]: use 'enc' is unknown"),
        (entry("k2", use="x509-svid"), None),
        (entry("k2", kid=...), "keys[0]: there is no key id"),
        (entry("k2", kid=""), None),
        (entry("k2", kid=7), None),
        (entry("k2", kty="oct"), None),
        (entry("k2", d="AAAA"), "keys[0]: the private half of the key is published, in the member d"),
        (entry("k2", x="AAAA"), None),
        (7, "keys[0]: the entry is not an object"),
        (None, None),
    ],
)
def test_a_bad_key_takes_no_other_with_it(bad: object, told: str | None) -> None:
    bundles, found = passed_over(bad, entry("k1"))
    assert bundles.authorities(forge.A) == (K1,)
    assert len(found) == 1
    assert told is None or found == [told]
    assert "AAAA" not in found[0]


def test_of_two_keys_with_one_id_the_first_counts() -> None:
    bundles, told = passed_over(entry("k1"), entry("k2", kid="k1"))
    assert bundles.authorities(forge.A) == (K1,)
    assert told == ["keys[1]: key id 'k1' is that of an earlier key"]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        b"[" * 9999,
        b" " * (5 << 20),
    ],
)
def test_a_bundle_that_cannot_be_read_takes_no_other_with_it(garbage: bytes) -> None:
    answer = read_jwt_bundles(jwt_keys(a=key_set(K1), b=garbage))
    assert [domain.name for domain in answer.value] == ["a.test"]
    assert {found.where for found in answer.passed_over} == {"bundle of 'spiffe://b.test'"}
    with pytest.raises(TokenVerifyError, match="no federation with trust domain b.test"):
        answer.value.validate(tokens.jwt(sub="spiffe://b.test/x"), tokens.AUDIENCE, now=tokens.NOW)


def test_keys_of_the_map_are_ids_of_trust_domains() -> None:
    message = pb.JWTBundlesResponse(
        bundles={"a.test": key_set(K1), "spiffe://b.test/x": key_set(K1), "spiffe://c.test": key_set(K1)}
    )
    answer = read_jwt_bundles(message)
    assert [domain.name for domain in answer.value] == ["c.test"]
    assert len(answer.passed_over) == 2


def test_no_bundle_at_all_is_refused() -> None:
    for message in (pb.JWTBundlesResponse(), jwt_keys(a=b"x"), pb.JWTBundlesResponse(bundles={"x": b""})):
        with pytest.raises(ResponseError):
            read_jwt_bundles(message)
