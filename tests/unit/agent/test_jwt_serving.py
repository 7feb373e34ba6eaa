"""JWT-SVIDs through a whole agent: from the server's key to a workload's answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta

import pytest

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.rpc import StatusCode
from finial.wire.bundles import bundle_message
from finial.wire.gen import workload as pb
from finial.wire.statuses import Denial
from support import tokens
from support.agent_world import (
    ME,
    Agent,
    World,
    agent,
    joined,
    on_agent,
    on_pushed,
    served,
    stream,
    world,
)
from support.jwt_calls import API, workload
from support.rpc import run

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HERE = "spiffe://example.org"


def keys(message: pb.JWTBundlesResponse) -> dict[str, list[str]]:
    """The key ids in a bundle message, by trust domain."""
    return {name: [key["kid"] for key in json.loads(doc)["keys"]] for name, doc in message.bundles.items()}


@on_agent
async def test_a_workload_gets_a_token_and_the_same_one_again(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        (svid,) = await me.fetch("a", "b")
        assert svid.id.text == f"{HERE}/web"
        assert svid.audience == ("a", "b")
        assert await me.one("b", "a") == svid.token
        assert await me.one("a") != svid.token
        assert w.server.jwt.asked == [("e1", ("a", "b")), ("e1", ("a",))]


@on_agent
async def test_a_request_that_is_larger_than_any_needs_to_be_is_not_even_read(
    w: World, running: Agent
) -> None:
    async with workload(w, running) as me:
        for call in (me.fetch_now("a" * 70_000), me.validate("a" * 70_000)):
            assert (await me.refusal(call)).code is StatusCode.RESOURCE_EXHAUSTED
        assert (await me.refusal(me.fetch_now("a" * 60_000))).code is StatusCode.INVALID_ARGUMENT
        await me.one("a" * 16_000)


@on_agent
async def test_audiences_that_say_nothing_are_left_out(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        first = await w.within(me.fetch_now("", "a", "a"))
        assert first.svids[0].svid == await me.one("a")
        assert w.server.jwt.asked == [("e1", ("a",))]


def test_hints_are_unique_and_the_older_entry_has_its_own() -> None:
    async def main() -> None:
        async with served() as (w, running):
            w.server.add("e2", "/young", ME, hint="h", created_at=3_000)
            w.server.add("e3", "/old", ME, hint="h", created_at=2_000)
            async with workload(w, running) as me:
                await w.pass_time(7 * SECOND)
                found = await me.fetch("a")
                assert [(each.id.path, each.hint) for each in found] == [("/web", ""), ("/old", "h")]
                refused = await me.refusal(me.fetch_now("a", spiffe_id=f"{HERE}/young"))
                assert refused.code is StatusCode.PERMISSION_DENIED

    run(main())


def test_an_entry_that_asks_for_token_ids_has_no_token_served_twice() -> None:
    async def main() -> None:
        for pushes in (False, True):
            async with world(pushes=pushes) as w:
                w.server.add("e1", "/web", ME, additional_attributes={"jwt_svid_include_jti": True})
                async with joined(w) as running, workload(w, running) as me:
                    found = [(await me.fetch("a"))[0] for _ in range(3)]
                    assert [each.claims["jti"] for each in found] == ["j1", "j2", "j3"]

    run(main())


@on_agent
async def test_an_entry_of_which_only_the_server_knows_that_it_is_gone(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        await me.one("known")
        w.server.gate.clear()
        fetching = asyncio.ensure_future(me.refusal(me.fetch_now("a")))
        await w.eventually(lambda: len(w.server.jwt.asked) == 2)
        del w.server.entries["e1"]
        w.server.gate.set()
        error = await w.within(fetching)
        assert error.code is StatusCode.UNAVAILABLE  # the agent does not know yet
        await w.pass_time(7 * SECOND)
        for audience in ("a", "known"):
            error = await me.refusal(me.fetch_now(audience))
            assert (error.code, error.message) == (StatusCode.PERMISSION_DENIED, "no identity issued")


@on_agent
async def test_tokens_that_are_refused_in_a_row_have_the_server_asked_once_a_second(
    w: World, running: Agent
) -> None:
    w.server.jwt.refused.update(f"a{number}" for number in range(20))
    async with workload(w, running) as me:
        began, polled = w.clock.monotonic(), w.server.calls["SyncAuthorizedEntries"]
        for number in range(20):
            assert (await me.refusal(me.fetch_now(f"a{number}"))).code is StatusCode.UNAVAILABLE
        await w.pass_time(SECOND)
        rounds = w.server.calls["SyncAuthorizedEntries"] - polled
        assert 1 <= rounds <= w.clock.monotonic() - began + 1


@pytest.mark.parametrize("goes_wrong", [False, True])
@pytest.mark.parametrize("others", [False, True])
def test_what_is_taken_while_a_token_is_signed_is_not_given(goes_wrong: bool, others: bool) -> None:
    async def main() -> None:
        async with served(pushes=True) as (w, running), workload(w, running) as me:
            if others:
                w.server.add("e2", "/other", ME)
                w.server.push.tell()
                await w.pass_time(SECOND)
            w.server.jwt.gate.clear()
            fetching = asyncio.ensure_future(me.refusal(me.fetch_now("a")))
            await w.eventually(lambda: bool(w.server.jwt.asked))
            del w.server.entries["e1"]
            w.server.push.tell()
            await w.pass_time(SECOND)
            w.server.jwt.refused.update(["a"] if goes_wrong else [])
            w.server.jwt.gate.set()
            error = await w.within(fetching)
            assert error.code is StatusCode.PERMISSION_DENIED

    run(main())


@on_pushed
async def test_a_token_is_dropped_when_its_entry_goes(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        await me.one("a")
        del w.server.entries["e1"]
        w.server.push.tell()
        await w.pass_time(SECOND)
        error = await me.refusal(me.fetch_now("a"))
        assert error.code is StatusCode.PERMISSION_DENIED


@on_agent
async def test_no_token_outlives_a_ban(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        await me.one("a")
        w.server.denial = Denial.AGENT_BANNED
        error = await me.refusal(me.fetch_now("b"))
        assert error.code in {StatusCode.PERMISSION_DENIED, StatusCode.UNAVAILABLE}
        await running.end()


@on_agent
async def test_a_server_that_is_away_takes_no_token_that_is_valid(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        token = await me.one("a")
        await w.server.stop()
        await w.pass_time(4 * MINUTE, step=SECOND)
        assert await me.one("a") == token
        error = await me.refusal(me.fetch_now("b"))
        assert error.code is StatusCode.UNAVAILABLE
        assert error.message.startswith("could not fetch JWT-SVID: the server is away, and no valid one is")
        await w.pass_time(MINUTE, step=SECOND)
        assert (await me.refusal(me.fetch_now("a"))).code is StatusCode.UNAVAILABLE
        await w.server.start()
        await w.pass_time(16 * SECOND, step=SECOND)
        assert await me.one("a") != token


def test_tokens_stay_in_memory() -> None:
    async def main() -> None:
        async with served() as (w, running):
            async with workload(w, running) as me:
                token = await me.one("a")
            await running.stop()
            for name in w.stored():
                assert token not in (w.folder / "agent" / name).read_text()
            await w.server.stop()
            async with agent(w) as again:
                await again.ready()
                async with workload(w, again) as me:
                    error = await me.refusal(me.fetch_now("a"))
                    assert error.code is StatusCode.UNAVAILABLE
                    assert "has not yet heard" in error.message

    run(main())


# Keys that rotate


@on_agent
async def test_a_key_that_is_tainted_signs_nothing_that_is_served(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        old = w.server.jwt.active
        token = await me.one("a")
        w.server.jwt.active = w.server.jwt.prepare()
        await w.pass_time(7 * SECOND)
        assert await me.one("a") == token
        w.server.jwt.taint(old)
        await w.pass_time(7 * SECOND)
        (fresh,) = await me.fetch("a")
        assert fresh.key_id == "k2"
        w.server.jwt.revoke(old)
        await w.pass_time(7 * SECOND)
        assert await me.one("a") == fresh.token
        error = await me.refusal(me.validate(token))
        assert error.code is StatusCode.INVALID_ARGUMENT


def test_a_token_of_a_key_that_is_not_known_yet_waits_for_the_bundle() -> None:
    async def main() -> None:
        for pushes in (False, True):
            async with served(pushes=pushes) as (w, running), workload(w, running) as me:
                w.server.jwt.active = w.server.jwt.prepare()
                (svid,) = await me.fetch("a")
                assert svid.key_id == "k2"

    run(main())


# Bundles


@on_pushed
async def test_bundles_of_keys_are_streamed_when_they_change_and_only_then(w: World, running: Agent) -> None:
    async with stream(w, running, API.FetchJWTBundles) as caller, stream(w, running) as x509:
        assert keys(await caller.next()) == {HERE: ["k1"]}
        await x509.next()
        fresh = w.server.jwt.prepare()
        w.server.push.tell()
        assert keys(await caller.next()) == {HERE: ["k1", "k2"]}
        w.server.jwt.taint(fresh)
        w.server.prepare()
        w.server.push.tell()
        await x509.next()
        w.server.jwt.revoke(fresh)
        w.server.push.tell()
        assert keys(await caller.next()) == {HERE: ["k1"]}
        await x509.quiet(2 * SECOND)


def foreign(name: str, *key_ids: str) -> Bundle:
    authorities = tuple(tokens.authority(key_id)[0] for key_id in key_ids)
    return Bundle(trust_domain=TrustDomain(name), jwt_authorities=authorities)


def test_bundles_of_foreign_trust_domains_are_shown_to_those_that_name_them() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME, federates_with=["b.test"])
            w.server.add("e2", "/other", "unix:uid:4242", federates_with=["c.test"])
            for name in ("b.test", "c.test"):
                w.server.foreign[name] = bundle_message(foreign(name, f"{name}-key"))
            async with joined(w) as running, stream(w, running, API.FetchJWTBundles) as caller:
                both = {HERE: ["k1"], "spiffe://b.test": ["b.test-key"]}
                assert keys(await caller.next()) == both
                w.server.foreign["b.test"] = bundle_message(foreign("b.test", "b.test-key", "k9"))
                assert keys(await caller.next())["spiffe://b.test"] == ["b.test-key", "k9"]
                del w.server.foreign["b.test"]
                assert keys(await caller.next()) == {HERE: ["k1"]}

    run(main())


# Validation


def claims(reply: pb.ValidateJWTSVIDResponse) -> Mapping[str, object]:
    return {name: getattr(each, each.WhichOneof("kind") or "") for name, each in reply.claims.fields.items()}


def test_a_token_of_a_foreign_trust_domain_says_only_what_the_standard_defines() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", ME, federates_with=["b.test"])
            w.server.foreign["b.test"] = bundle_message(foreign("b.test", "k9"))
            seconds = int(w.clock.now().timestamp()) + 300
            token = tokens.jwt(
                kid="k9", sub="spiffe://b.test/x", aud="a", exp=seconds, email="me", role="root", iat=...
            )
            for allowed, told in (((), set()), (("email", "team"), {"email"})):
                name = f"agent-{len(allowed)}"
                settings = {"data_dir": w.folder / name, "socket": w.folder / name / "s"}
                join = {"join_token": w.server.token(f"token-{name}"), **settings}
                async with (
                    joined(w, allowed_foreign_jwt_claims=allowed, **join) as running,
                    workload(w, running) as me,
                ):
                    reply = await w.within(me.validate(token))
                    assert reply.spiffe_id == "spiffe://b.test/x"
                    assert set(claims(reply)) == {"sub", "aud", "exp", *told}
                    w.server.entries["e1"].ClearField("federates_with")
                    w.server.entries["e1"].revision_number += 1
                    await w.pass_time(7 * SECOND)
                    error = await me.refusal(me.validate(token))
                    assert error.code is StatusCode.INVALID_ARGUMENT
                    assert "no federation with trust domain b.test" in error.message
                    w.server.entries["e1"].federates_with.append("b.test")
                    w.server.entries["e1"].revision_number += 1

    run(main())


def test_a_caller_without_identity_may_have_tokens_of_its_own_trust_domain_judged() -> None:
    async def main() -> None:
        async with world() as w:
            w.server.add("e1", "/web", "unix:uid:4242")
            async with joined(w) as running, workload(w, running) as me:
                token = w.server.jwt.sign(f"{HERE}/web", ("a",), role="root")
                reply = await w.within(me.validate(token))
                assert claims(reply)["role"] == "root"
                assert (await me.refusal(me.fetch_now("a"))).code is StatusCode.PERMISSION_DENIED
                async with stream(w, running, API.FetchJWTBundles) as caller:
                    assert (await caller.end()).code is StatusCode.PERMISSION_DENIED

    run(main())
