"""The server's side of the Workload API: what it says of tokens that workloads are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.token_authority import TokenAuthority
from finial.rpc import StatusCode
from finial.wire.bundles import bundle_message
from finial.wire.gen import workload as pb
from support import tokens
from support.agent_world import ME, Agent, World, joined, on_agent, world
from support.fake_server import FakeServer
from support.jwt_calls import workload
from support.rpc import run

HERE = "spiffe://example.org"
WEB = f"{HERE}/web"


def keyed(name: str, authority: TokenAuthority) -> Bundle:
    return Bundle(trust_domain=TrustDomain(name), jwt_authorities=(authority,))


def bad(now: int) -> dict[str, str]:
    """Tokens that break one rule each, for an agent whose trust domain has the key k1."""
    key = tokens.authority()[1]
    right: dict[str, Any] = {"sub": WEB, "aud": ["a"], "exp": now + 300, "iat": now}

    def token(header: Mapping[str, object] | None = None, **claims: Any) -> str:
        return tokens.jwt(header=header, **{**right, **claims})

    head, body, signature = token().split(".")
    return {
        "no token": "not a token",
        "two parts": f"{head}.{body}",
        "five parts": f"{head}.{body}.{signature}.x.y",
        "padded": f"{head}.{body}.{signature}=",
        "JSON form": json.dumps({"protected": head, "payload": body, "signature": signature}),
        "not signed": f"{head}.{body}.",
        "signed by nobody": f"{tokens.text({'alg': 'none'})}.{body}.",
        "changed": f"{head}.{tokens.text({**right, 'sub': HERE + '/admin'})}.{signature}",
        "shared secret": token({"alg": "HS256"}),
        "other curve": tokens.signed(
            {"alg": "ES384", "kid": "k1"}, right, tokens.authority("k1", "ec-p384")[1]
        ),
        "other key": tokens.signed({"alg": "ES256", "kid": "k1"}, right, tokens.authority("k2")[1]),
        "unknown key": tokens.signed({"alg": "ES256", "kid": "k2"}, right, key),
        "other type": token({"typ": "wit+jwt"}),
        "a critical extension": token({"crit": ["x"], "x": 1}),
        "a place for the key": token({"jku": "https://evil.test/keys"}),
        "no sub": token(sub=...),
        "no SPIFFE ID": token(sub="web"),
        "no aud": token(aud=...),
        "empty aud": token(aud=[]),
        "other aud": token(aud=["A", "ab"]),
        "no exp": token(exp=...),
        "exp that is none": token(exp="soon"),
        "at its end": token(exp=now),
        "over": token(exp=now - 1),
        "not yet": token(nbf=now + 60),
        "no federation": token(sub="spiffe://b.test/web"),
        "a long one": "x" * 40_000,
    }


@pytest.mark.spec("WAPI-52", "JWT-27", "JWT-44", "JWT-26")
@on_agent
async def test_a_token_that_breaks_a_rule_is_an_invalid_argument_and_is_not_quoted(
    w: World, running: Agent
) -> None:
    async with workload(w, running) as me:
        for name, token in bad(int(w.clock.now().timestamp())).items():
            error = await me.refusal(me.validate(token))
            assert error.code is StatusCode.INVALID_ARGUMENT, name
            assert error.message, name
            parts = [part for part in token.split(".") if len(part) > 20]
            assert not any(part in error.message for part in [token, *parts]), name


@pytest.mark.spec("WAPI-52", "WAPI-53", "WAPI-54")
@on_agent
async def test_a_good_token_is_told_with_its_claims_exactly(w: World, running: Agent) -> None:
    now = int(w.clock.now().timestamp())
    token = w.server.jwt.sign(WEB, ("a",), aud="a", nested={"list": [1, None, True, "x"]})
    async with workload(w, running) as me:
        reply = await w.within(me.validate(token))
        assert reply.spiffe_id == WEB
        fields = reply.claims.fields
        assert fields["sub"].string_value == WEB
        assert [each.string_value for each in fields["aud"].list_value.values] == ["a"]
        assert (fields["iat"].number_value, fields["exp"].number_value) == (now, now + 300)
        values = fields["nested"].struct_value.fields["list"].list_value.values
        assert [each.WhichOneof("kind") for each in values] == [
            "number_value",
            "null_value",
            "bool_value",
            "string_value",
        ]


def told(reply: pb.ValidateJWTSVIDResponse) -> set[str]:
    return set(reply.claims.fields)


@pytest.mark.spec("ID-41", "ID-49", "WAPI-53")
@pytest.mark.parametrize(("allowed", "more"), [((), set()), (("email",), {"email"})])
def test_of_a_foreign_token_only_what_the_standard_defines_is_told_unless_allowed(
    allowed: tuple[str, ...], more: set[str]
) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME, federates_with=["b.test"])
            w.server.foreign["b.test"] = bundle_message(keyed("b.test", tokens.authority("f1")[0]))
            async with (
                joined(w, allowed_foreign_jwt_claims=allowed) as running,
                workload(w, running) as me,
            ):
                end = int(w.clock.now().timestamp()) + 300
                claims: dict[str, Any] = {"aud": "a", "exp": end, "email": "me@b.test", "admin": True}
                foreign = tokens.jwt(kid="f1", sub="spiffe://b.test/x", **claims)
                assert told(await w.within(me.validate(foreign))) == {"sub", "aud", "exp", *more}
                own = w.server.jwt.sign(WEB, ("a",), email="me", admin=True)
                assert told(await w.within(me.validate(own))) == {
                    "sub", "aud", "exp", "iat", "email", "admin",
                }  # fmt: skip

    run(main())


@pytest.mark.spec("WAPI-75", "JWT-28")
def test_a_token_is_judged_by_the_bundle_of_its_subject_and_by_no_other() -> None:
    here, there = tokens.authority("k1")[1], tokens.authority("k1", "ec-p384")

    def fill(server: FakeServer) -> None:
        server.add("e1", "/web", ME, federates_with=["b.test"])
        server.add("e2", "/other", "unix:uid:4242", federates_with=["c.test"])
        for name in ("b.test", "c.test"):  # both publish a key with the id of ours
            server.foreign[name] = bundle_message(keyed(name, there[0]))

    async def main() -> None:
        async with world() as w, AsyncExitStack() as stack:
            fill(w.server)
            me = await stack.enter_async_context(workload(w, await stack.enter_async_context(joined(w))))
            end = int(w.clock.now().timestamp()) + 300

            def token(domain: str, key: Any, algorithm: str) -> str:
                claims = {"sub": f"spiffe://{domain}/x", "aud": "a", "exp": end}
                return tokens.signed({"alg": algorithm, "kid": "k1"}, claims, key)

            for good in (token("example.org", here, "ES256"), token("b.test", there[1], "ES384")):
                assert (await w.within(me.validate(good))).spiffe_id
            for wrong in (
                token("b.test", here, "ES256"),
                token("example.org", there[1], "ES384"),
                token("c.test", there[1], "ES384"),  # federated, but not for this caller
            ):
                error = await me.refusal(me.validate(wrong))
                assert error.code is StatusCode.INVALID_ARGUMENT

    run(main())
