"""The JWT-SVID profile of the Workload API, as far as it binds a client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core.errors import FinialError, Kind, SpiffeIDError, TokenVerifyError
from finial.core.token_authority import TokenAuthority
from finial.core.witsvid import validate_wit
from finial.rpc import RpcError, StatusCode
from finial.sdk import (
    HintError,
    JWTSource,
    ProofScope,
    ResponseError,
    Revoked,
    Updated,
    WorkloadAPIError,
    WorkloadClient,
    verify_x509,
)
from finial.wire.gen import google_protobuf as well_known
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.clock import FixedChance, ManualClock, settle
from support.fake_workload import FakeWorkloadAPI, Feed, jwt_keys, jwts, key_set, one_jwt, serving
from support.rpc import eventually, run
from support.watching import LEAF

OTHER = "spiffe://a.test/other"
B_PEER = "spiffe://b.test/peer"
K1 = tokens.authority("k1")[0]
KEYS = key_set(K1)
DENIED = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")


@asynccontextmanager
async def asking(api: FakeWorkloadAPI) -> AsyncIterator[tuple[WorkloadClient, ManualClock]]:
    clock = ManualClock(tokens.NOW)
    async with (
        serving(api) as address,
        WorkloadClient(address, clock=clock, chance=FixedChance(1.0)) as client,
    ):
        yield client, clock


def claims(**changes: object) -> well_known.Struct:
    members = {"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": tokens.SECONDS, **changes}
    found = well_known.Struct()
    found.update(members)  # type: ignore[arg-type]
    return found


def validated(spiffe_id: str = forge.WEB, **changes: object) -> pb.ValidateJWTSVIDResponse:
    return pb.ValidateJWTSVIDResponse(spiffe_id=spiffe_id, claims=claims(**changes))


def published(use: str, authority: TokenAuthority) -> dict[str, object]:
    (entry,) = json.loads(key_set(authority))["keys"]
    return {**entry, "use": use}


@pytest.mark.spec("WAPI-41")
def test_one_identity_is_asked_for_and_no_other_is_taken() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(jwt=jwts(one_jwt(uri=OTHER)))
        async with asking(api) as (client, _):
            assert (await client.fetch_jwt_svid(tokens.AUDIENCE, spiffe_id=OTHER)).id.text == OTHER
            assert api.asked == [pb.JWTSVIDRequest(audience=[tokens.AUDIENCE], spiffe_id=OTHER)]
            with pytest.raises(ResponseError, match="was asked for"):
                await client.fetch_jwt_svid(tokens.AUDIENCE, spiffe_id=forge.WEB)
            with pytest.raises(SpiffeIDError):
                await client.fetch_jwt_svid(tokens.AUDIENCE, spiffe_id="http://a.test/x")

    run(main())


@pytest.mark.spec("WAPI-19")
@pytest.mark.parametrize(
    "message",
    [
        jwts(),
        jwts(pb.JWTSVID(svid=tokens.jwt())),
        jwts(pb.JWTSVID(spiffe_id=forge.WEB)),
        jwts(one_jwt(), pb.JWTSVID()),
    ],
)
def test_an_answer_without_a_mandatory_field_is_reported_and_discarded(message: pb.JWTSVIDResponse) -> None:
    async def main() -> None:
        async with asking(FakeWorkloadAPI(jwt=message)) as (client, _):
            with pytest.raises(ResponseError) as caught:
                await client.fetch_jwt_svids(tokens.AUDIENCE)
            assert caught.value.reason.id == "workload-response-empty"

    run(main())


@pytest.mark.spec("WAPI-19")
def test_a_message_without_keys_is_reported_and_discarded() -> None:
    async def main() -> None:
        problems: list[FinialError] = []
        feed = Feed([pb.JWTBundlesResponse(), jwt_keys(a=KEYS)])
        async with asking(FakeWorkloadAPI(jwt_bundles=feed)) as (client, _):
            events = client.watch_jwt_bundles(report=problems.append)
            async with aclosing(events):
                assert isinstance(await anext(events), Updated)
        assert [problem.reason.id for problem in problems] == ["workload-response-empty"]

    run(main())


@pytest.mark.spec("WAPI-78")
def test_of_equal_hints_the_first_is_chosen_and_empty_ones_are_not_equal() -> None:
    async def main() -> None:
        message = jwts(one_jwt(hint="x"), one_jwt(uri=OTHER, hint="x"), one_jwt(uri=OTHER), one_jwt())
        async with asking(FakeWorkloadAPI(jwt=message)) as (client, _):
            svids = await client.fetch_jwt_svids(tokens.AUDIENCE)
            assert [(svid.id.text, svid.hint) for svid in svids] == [
                (forge.WEB, "x"),
                (OTHER, ""),
                (forge.WEB, ""),
            ]
            assert (await client.fetch_jwt_svid(tokens.AUDIENCE, hint="x")).id.text == forge.WEB

    run(main())


@pytest.mark.spec("WAPI-71")
def test_a_missing_hint_is_reported_never_replaced() -> None:
    async def main() -> None:
        async with asking(FakeWorkloadAPI(jwt=jwts(one_jwt(hint="x")))) as (client, _):
            with pytest.raises(HintError, match="no SVID has the hint 'y'"):
                await client.fetch_jwt_svid(tokens.AUDIENCE, hint="y")

    run(main())


@pytest.mark.spec("WAPI-47")
def test_keys_for_jwt_svids_validate_nothing_else() -> None:
    async def main() -> None:
        wit = tokens.authority("w1")[0]
        document = {"keys": [published("wit-svid", wit), published("jwt-svid", K1)]}
        feed = Feed([jwt_keys(a=json.dumps(document).encode())])
        async with asking(FakeWorkloadAPI(jwt_bundles=feed)) as (client, _):
            bundles = await client.fetch_jwt_bundles()
        assert bundles.authorities(forge.A) == (K1,)
        # They are no source of bundles, which is what verifying anything else asks for; mypy says so too.
        with pytest.raises(AttributeError):
            verify_x509([LEAF.der], bundles, now=tokens.NOW)  # type: ignore[arg-type]
        with pytest.raises(AttributeError):
            validate_wit(
                tokens.wit(),
                tokens.proof(tokens.wit()),
                bundles,  # type: ignore[arg-type]
                scope=ProofScope(tokens.TARGET),
                now=tokens.NOW,
            )
        with pytest.raises(FinialError):
            bundles.validate(tokens.wit(), tokens.AUDIENCE, now=tokens.NOW)

    run(main())


@pytest.mark.spec("WAPI-15", "WAPI-16", "WAPI-17", "WAPI-80")
def test_keys_that_are_redacted_are_not_used() -> None:
    async def main() -> None:
        feed = Feed([jwt_keys(a=KEYS, b=KEYS)])
        async with (
            asking(FakeWorkloadAPI(jwt_bundles=feed)) as (client, clock),
            JWTSource(client, clock=clock) as source,
        ):
            for message, left in (
                (jwt_keys(a=KEYS), {forge.WEB}),  # the domain is not there any more
                (jwt_keys(a=key_set(), b=KEYS), {B_PEER}),  # the domain has no keys any more
                (DENIED, set[str]()),
            ):
                change = asyncio.ensure_future(source.updated())
                await settle()
                feed.push(message)
                await change
                assert {each for each in (forge.WEB, B_PEER) if _accepted(source, each)} == left

    run(main())


def _accepted(source: JWTSource, subject: str) -> bool:
    try:
        return source.validate(tokens.jwt(sub=subject), tokens.AUDIENCE).id.text == subject
    except FinialError:
        return False


@pytest.mark.spec("WAPI-54")
@pytest.mark.parametrize(
    "message",
    [
        pb.ValidateJWTSVIDResponse(),
        pb.ValidateJWTSVIDResponse(spiffe_id=forge.WEB),
        pb.ValidateJWTSVIDResponse(claims=claims()),
        validated(OTHER),
        validated(aud=["another"]),
    ],
)
def test_a_validation_without_its_fields_or_of_something_else_is_discarded(
    message: pb.ValidateJWTSVIDResponse,
) -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(validated=message)
        async with asking(api) as (client, _):
            with pytest.raises(ResponseError):
                await client.validate_jwt_svid(tokens.jwt(), tokens.AUDIENCE)
            with pytest.raises(WorkloadAPIError, match="without an audience"):
                await client.validate_jwt_svid(tokens.jwt(), "")
        assert api.calls == 1

    run(main())


@pytest.mark.spec("WAPI-74")
def test_the_workload_api_validates_where_it_can() -> None:
    async def main() -> None:
        api, token = FakeWorkloadAPI(validated=validated()), tokens.jwt()
        async with asking(api) as (client, _):
            found = await client.validate_jwt_svid(token, tokens.AUDIENCE)
            assert (found.id.text, found.claims["aud"]) == (forge.WEB, (tokens.AUDIENCE,))
            assert api.asked == [pb.ValidateJWTSVIDRequest(audience=tokens.AUDIENCE, svid=token)]
            api.validated = RpcError(StatusCode.INVALID_ARGUMENT, "token has expired")
            with pytest.raises(WorkloadAPIError, match="token has expired") as caught:
                await client.validate_jwt_svid(token, tokens.AUDIENCE)
            assert caught.value.reason.kind is Kind.UNTRUSTED

    run(main())


@pytest.mark.spec("WAPI-21", "WAPI-75")
def test_a_token_is_proven_by_the_keys_of_its_own_trust_domain_alone() -> None:
    async def main() -> None:
        k2 = tokens.authority("k2")[0]
        other_key_same_id = TokenAuthority(key_id="k1", key=k2.key)
        feed = Feed([jwt_keys(a=KEYS, b=key_set(other_key_same_id))])
        async with (
            asking(FakeWorkloadAPI(jwt_bundles=feed)) as (client, clock),
            JWTSource(client, clock=clock) as source,
        ):
            assert _accepted(source, forge.WEB)
            for subject in (B_PEER, "spiffe://c.test/peer"):
                with pytest.raises(TokenVerifyError):
                    source.validate(tokens.jwt(sub=subject), tokens.AUDIENCE)

    run(main())


@pytest.mark.spec("WAPI-76")
def test_each_bundle_can_be_written_to_a_file_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        feed = Feed([jwt_keys(a=KEYS, b=key_set())])
        async with asking(FakeWorkloadAPI(jwt_bundles=feed)) as (client, _):
            for trust_domain, keys in (await client.fetch_jwt_bundles()).key_sets().items():
                (tmp_path / f"{trust_domain}.json").write_bytes(keys)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.test.json", "b.test.json"]
        assert json.loads((tmp_path / "a.test.json").read_bytes()) == json.loads(KEYS)

    run(main())


@pytest.mark.spec("WAPI-73", "EP-38")
@pytest.mark.parametrize(
    ("code", "again"),
    [
        (StatusCode.INVALID_ARGUMENT, False),
        (StatusCode.UNIMPLEMENTED, False),
        (StatusCode.UNAVAILABLE, True),
        (StatusCode.PERMISSION_DENIED, True),
    ],
)
def test_which_status_is_followed_by_another_try(code: StatusCode, again: bool) -> None:
    async def main() -> None:
        feed, problems = Feed[pb.JWTBundlesResponse]([RpcError(code, "no")]), list[FinialError]()
        api = FakeWorkloadAPI(jwt_bundles=feed)
        async with asking(api) as (client, clock):
            events = client.watch_jwt_bundles(report=problems.append)
            first = asyncio.ensure_future(anext(events))
            await eventually(lambda: len(problems) == 1)
            await settle()
            if not again:
                with pytest.raises(WorkloadAPIError):
                    await first
                await clock.advance(timedelta(minutes=5))
                assert api.calls == 1
                return
            feed.answers = [jwt_keys(a=KEYS)]
            if first.done():
                assert isinstance(await first, Revoked)
                first = asyncio.ensure_future(anext(events))
            await clock.advance(timedelta(seconds=1))
            assert isinstance(await first, Updated)
            assert api.calls == 2
            await events.aclose()

    run(main())
