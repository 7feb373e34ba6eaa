"""The server's side of the Workload API, the profile of JWT-SVIDs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import jwt as pyjwt
import pytest

from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.rpc import Channel, Method, RpcError, StatusCode
from finial.wire.bundles import bundle_message
from finial.wire.gen import workload as pb
from support import tokens
from support.agent_world import HEADER, ME, Agent, World, agent, joined, on_agent, stream, world
from support.fake_server import FakeServer
from support.jwt_calls import API, Workload, workload
from support.rpc import run

HERE = "spiffe://example.org"
WEB = f"{HERE}/web"
PROFILE = (API.FetchJWTSVID, API.FetchJWTBundles, API.ValidateJWTSVID)
JWT_RPCS = pytest.mark.parametrize("method", PROFILE, ids=[each.name for each in PROFILE])
REQUESTS: Mapping[str, Any] = {
    "FetchJWTSVID": pb.JWTSVIDRequest(audience=["a"]),
    "FetchJWTBundles": pb.JWTBundlesRequest(),
    "ValidateJWTSVID": pb.ValidateJWTSVIDRequest(audience="a", svid="a.b.c"),
}


async def status(w: World, running: Agent, method: Method[Any, Any], metadata: Any = HEADER) -> RpcError:
    """What a call ends with that is not answered."""

    async def answer(channel: Channel) -> None:
        async with channel.call(method, metadata=metadata) as call:
            await call.send(REQUESTS[method.name])
            await call.half_close()
            raise AssertionError(await call.receive())

    async with Channel(running.socket) as channel:
        try:
            await w.within(answer(channel))
        except RpcError as error:
            return error
    raise AssertionError


@asynccontextmanager
async def caller(fill: Callable[[FakeServer], object]) -> AsyncIterator[tuple[World, Agent, Workload]]:
    """A workload at an agent whose server a test has filled."""
    async with world() as w:
        fill(w.server)
        async with joined(w) as running, workload(w, running) as me:
            yield w, running, me


def two(server: FakeServer) -> None:
    """Two identities of the caller, the younger one first."""
    server.add("e2", "/young", ME, created_at=2_000, hint="internal")
    server.add("e1", "/web", ME, created_at=1_000)


def nobody(server: FakeServer) -> None:
    server.add("e1", "/web", "unix:uid:4242")


@pytest.mark.spec("WAPI-01", "EP-01")
@on_agent
async def test_all_five_calls_of_the_mandatory_profiles_are_served_by_default(
    w: World, running: Agent
) -> None:
    async with workload(w, running) as me:
        (svid,) = await me.fetch("a")
        assert (await w.within(me.validate(svid.token))).spiffe_id == WEB
    for method in (API.FetchX509SVID, API.FetchX509Bundles, API.FetchJWTBundles):
        async with stream(w, running, method) as mine:
            assert await mine.next()


@pytest.mark.spec("WAPI-02")
@on_agent
async def test_calls_of_a_profile_that_is_off_are_unimplemented_and_others_work(
    w: World, running: Agent
) -> None:
    for method in (API.FetchWITSVID, API.FetchWITBundles):
        async with stream(w, running, method) as mine:
            assert (await mine.end()).code is StatusCode.UNIMPLEMENTED
    async with workload(w, running) as me:
        assert await me.fetch("a")


@JWT_RPCS
@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("workload.spiffe.io", "True")],
        [("workload.spiffe.io", "")],
        [("workload.spiffe.io", "true"), ("workload.spiffe.io", "true")],
    ],
)
@pytest.mark.spec("EP-09", "EP-25")
def test_without_the_security_header_nothing_is_served(method: Method[Any, Any], metadata: Any) -> None:
    @on_agent
    async def test(w: World, running: Agent) -> None:
        error = await status(w, running, method, metadata)
        assert error.code is StatusCode.INVALID_ARGUMENT
        assert error.message == "security header missing from request"

    test()


@JWT_RPCS
@pytest.mark.spec("EP-27")
def test_before_the_first_sync_callers_are_told_to_come_again(method: Method[Any, Any]) -> None:
    async def main() -> None:
        async with world() as w:
            w.server.errors["SyncAuthorizedEntries"] = RpcError(StatusCode.UNAVAILABLE, "busy")
            async with agent(w, join_token=w.server.token()) as running:
                await running.ready()
                assert (await status(w, running, method)).code is StatusCode.UNAVAILABLE

    run(main())


@pytest.mark.spec("WAPI-18", "WAPI-40", "WAPI-54")
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda me: me.fetch_now(), "audience must be specified"),
        (lambda me: me.fetch_now(""), "audience must be specified"),
        (lambda me: me.validate("", "a"), "svid must be specified"),
        (lambda me: me.validate("a.b.c", ""), "audience must be specified"),
        (lambda me: me.validate("", ""), "audience must be specified"),
    ],
)
def test_a_mandatory_field_that_is_missing_is_an_invalid_argument(
    call: Callable[[Workload], Any], text: str
) -> None:
    async def main() -> None:
        async with caller(nobody) as (_, _, me):  # whoever asks
            error = await me.refusal(call(me))
            assert (error.code, error.message) == (StatusCode.INVALID_ARGUMENT, text)

    run(main())


@pytest.mark.spec("WAPI-40", "WAPI-43", "WAPI-44")
@on_agent
async def test_the_audiences_that_are_asked_for_are_those_of_the_token(w: World, running: Agent) -> None:
    async with workload(w, running) as me:
        reply = await w.within(me.fetch_now("reports", "spiffe://example.org/x"))
        (svid,) = reply.svids
        key = w.server.jwt.active.key
        # As somebody else's code reads it.
        claims = pyjwt.decode(
            svid.svid, key, ["ES256"], audience="reports", options={"verify_exp": False, "verify_iat": False}
        )
        assert claims["aud"] == ["reports", "spiffe://example.org/x"]
        assert claims["sub"] == svid.spiffe_id == WEB


@pytest.mark.spec("WAPI-42", "WAPI-43", "WAPI-44")
def test_without_a_wish_every_identity_has_its_token() -> None:
    async def main() -> None:
        async with caller(two) as (_, _, me):
            found = await me.fetch("a")
            assert [each.id.text for each in found] == [WEB, f"{HERE}/young"]
            assert [each.hint for each in found] == ["", "internal"]

    run(main())


@pytest.mark.spec("WAPI-41")
def test_one_identity_may_be_asked_for() -> None:
    async def main() -> None:
        async with caller(two) as (w, _, me):
            (svid,) = await me.fetch("a", spiffe_id=f"{HERE}/young")
            assert (svid.id.path, svid.hint) == ("/young", "internal")
            assert w.server.jwt.asked == [("e2", ("a",))]
            for text in ("young", "spiffe://example.org/young/", "https://example.org/young"):
                error = await me.refusal(me.fetch_now("a", spiffe_id=text))
                assert error.code is StatusCode.INVALID_ARGUMENT

    run(main())


@pytest.mark.spec("WAPI-45")
def test_hints_are_unique_and_empty_ones_are_no_duplicates() -> None:
    def fill(server: FakeServer) -> None:
        for number, hint in enumerate(["", "", "h", "h"]):
            server.add(f"e{number}", f"/{number}", ME, hint=hint, created_at=1_000 + number)

    async def main() -> None:
        async with caller(fill) as (_, _, me):
            assert [each.id.path for each in await me.fetch("a")] == ["/0", "/1", "/2"]

    run(main())


@pytest.mark.spec("WAPI-46", "EP-29")
def test_whoever_has_no_identity_or_not_the_one_it_wants_has_no_token() -> None:
    async def main() -> None:
        async with caller(nobody) as (_, _, me):
            for wanted in ("", WEB):
                error = await me.refusal(me.fetch_now("a", spiffe_id=wanted))
                assert (error.code, error.message) == (StatusCode.PERMISSION_DENIED, "no identity issued")
        async with caller(two) as (_, _, me):
            error = await me.refusal(me.fetch_now("a", spiffe_id=f"{HERE}/other"))
            assert (error.code, error.message) == (StatusCode.PERMISSION_DENIED, "no identity issued")

    run(main())


# Bundles


@pytest.mark.spec("WAPI-48", "WAPI-49", "WAPI-50")
def test_bundles_are_key_sets_with_the_keys_for_jwt_svids_alone() -> None:
    foreign = Bundle(
        trust_domain=TrustDomain("b.test"),
        jwt_authorities=(tokens.authority("f1")[0],),
        wit_authorities=(tokens.authority("w1")[0],),
    )

    def fill(server: FakeServer) -> None:
        server.add("e1", "/web", ME, federates_with=["b.test"])
        server.foreign["b.test"] = bundle_message(foreign)

    async def main() -> None:
        async with caller(fill) as (w, running, me), stream(w, running, API.FetchJWTBundles) as mine:
            message = await mine.next()
            assert set(message.bundles) == {HERE, "spiffe://b.test"}
            sets = {name: pyjwt.PyJWKSet.from_json(text.decode()) for name, text in message.bundles.items()}
            named = {name: [key.key_id for key in found.keys] for name, found in sets.items()}
            assert named == {HERE: ["k1"], "spiffe://b.test": ["f1"]}
            for text in message.bundles.values():
                assert all("use" not in key for key in json.loads(text)["keys"])
            (svid,) = await me.fetch("a")
            pyjwt.decode(
                svid.token,
                sets[HERE]["k1"].key,
                ["ES256"],
                audience="a",
                options={"verify_exp": False, "verify_iat": False},
            )

    run(main())


@pytest.mark.spec("WAPI-48", "WAPI-10", "WAPI-11")
@on_agent
async def test_the_own_bundle_is_there_even_without_any_key(w: World, running: Agent) -> None:
    async with stream(w, running, API.FetchJWTBundles) as mine:
        assert list((await mine.next()).bundles) == [HERE]
        w.server.jwt.revoke(w.server.jwt.active)
        message = await mine.next()
        assert json.loads(message.bundles[HERE]) == {"keys": []}


@pytest.mark.spec("WAPI-51", "EP-29")
def test_whoever_is_entitled_to_nothing_gets_no_bundle_at_first_and_later() -> None:
    async def main() -> None:
        async with caller(nobody) as (w, running, _), stream(w, running, API.FetchJWTBundles) as mine:
            assert (await mine.end()).code is StatusCode.PERMISSION_DENIED
        async with caller(two) as (w, running, _), stream(w, running, API.FetchJWTBundles) as mine:
            await mine.next()
            w.server.entries.clear()
            assert (await mine.end()).code is StatusCode.PERMISSION_DENIED

    run(main())


@pytest.mark.spec("WAPI-06")
def test_each_caller_has_its_own_tokens_also_at_the_same_time() -> None:
    async def main() -> None:
        async with caller(two) as (w, running, me), workload(w, running) as other:
            both = await w.within(
                asyncio.gather(
                    me.fetch_now("a", spiffe_id=WEB), other.fetch_now("b", spiffe_id=f"{HERE}/young")
                )
            )
            assert [reply.svids[0].spiffe_id for reply in both] == [WEB, f"{HERE}/young"]

    run(main())
