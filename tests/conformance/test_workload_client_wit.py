"""The WIT-SVID profile of the Workload API, as far as it binds a client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta

import pytest

from finial.core.errors import FinialError, SpiffeIDError
from finial.core.jwtsvid import validate_jwt
from finial.rpc import RpcError, StatusCode
from finial.sdk import (
    HintError,
    ProofScope,
    ResponseError,
    Revoked,
    Updated,
    WITBundles,
    WITIdentity,
    WorkloadAPIError,
    WorkloadClient,
    by_hint,
    verify_x509,
)
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.clock import FixedChance, ManualClock
from support.fake_workload import (
    FakeWorkloadAPI,
    Feed,
    jwt_keys,
    jwts,
    key_set,
    one_jwt,
    one_svid,
    one_wit,
    serving,
    svids,
    wit_keys,
    wits,
)
from support.rpc import run
from support.watching import LEAF

OTHER = "spiffe://a.test/other"
W1 = tokens.authority("w1")[0]
KEYS = key_set(W1)
SCOPE = ProofScope(tokens.TARGET)
DENIED = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")


@asynccontextmanager
async def asking(api: FakeWorkloadAPI) -> AsyncIterator[tuple[WorkloadClient, ManualClock]]:
    clock = ManualClock(tokens.NOW)
    async with (
        serving(api) as address,
        WorkloadClient(address, clock=clock, chance=FixedChance(1.0)) as client,
    ):
        yield client, clock


@pytest.mark.spec("WAPI-56")
def test_a_server_without_the_profile_is_asked_once_and_the_others_go_on() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(
            [svids(one_svid(LEAF))], jwt=jwts(one_jwt()), jwt_bundles=Feed([jwt_keys(a=KEYS)])
        )
        refused = RpcError(StatusCode.UNIMPLEMENTED, "method not implemented")
        api.wits, api.wit_bundles = Feed([refused]), Feed([refused])
        async with asking(api) as (client, clock):
            x509 = client.watch_x509()
            async with aclosing(x509):
                assert isinstance(await anext(x509), Updated)
                for events in (client.watch_wit(), client.watch_wit_bundles()):
                    calls = api.calls
                    with pytest.raises(WorkloadAPIError, match="does not serve what was asked for"):
                        await anext(events)
                    await clock.advance(timedelta(hours=1))
                    assert api.calls == calls + 1
                api.push(svids(one_svid(LEAF)))
                assert isinstance(await anext(x509), Updated)
            assert (await client.fetch_jwt_svid(tokens.AUDIENCE)).id.text == forge.WEB
            assert forge.A in await client.fetch_jwt_bundles()

    run(main())


@pytest.mark.spec("WAPI-57")
def test_one_identity_is_asked_for_and_no_other_is_taken() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(wits=Feed([wits(one_wit(uri=OTHER))]))
        async with asking(api) as (client, _):
            (identity,) = await client.fetch_wit_svids(spiffe_id=OTHER)
            assert identity.id.text == OTHER
            assert api.asked == [pb.WITSVIDRequest(spiffe_id=OTHER)]
            with pytest.raises(ResponseError, match="was asked for"):
                await client.fetch_wit_svids(spiffe_id=forge.WEB)
            with pytest.raises(SpiffeIDError):
                await client.fetch_wit_svids(spiffe_id="http://a.test/x")

    run(main())


def without(field: str) -> pb.WITSVIDResponse:
    each = one_wit()
    each.ClearField(field)  # type: ignore[arg-type]
    return wits(each)


@pytest.mark.spec("WAPI-19")
@pytest.mark.parametrize("message", [wits(), *map(without, ("spiffe_id", "wit_svid", "wit_svid_key"))])
def test_a_message_without_a_mandatory_field_is_reported_and_discarded(message: pb.WITSVIDResponse) -> None:
    async def main() -> None:
        problems: list[FinialError] = []
        api = FakeWorkloadAPI(wits=Feed([message, wits(one_wit())]), wit_bundles=Feed([wit_keys()]))
        async with asking(api) as (client, _):
            events = client.watch_wit(report=problems.append)
            async with aclosing(events):
                assert isinstance(await anext(events), Updated)
            with pytest.raises(ResponseError, match="holds no bundle"):
                await client.fetch_wit_bundles()
        assert [problem.reason.id for problem in problems] == ["workload-response-empty"]
        assert api.calls == 2

    run(main())


@pytest.mark.spec("WAPI-71", "WAPI-79")
def test_of_equal_hints_the_first_is_chosen_and_empty_ones_are_not_equal() -> None:
    async def main() -> None:
        message = wits(one_wit(hint="x"), one_wit(uri=OTHER, hint="x"), one_wit(uri=OTHER), one_wit())
        async with asking(FakeWorkloadAPI(wits=Feed([message]))) as (client, _):
            identities = await client.fetch_wit_svids()
            assert [(each.id.text, each.hint) for each in identities] == [
                (forge.WEB, "x"),
                (OTHER, ""),
                (forge.WEB, ""),
            ]
            assert by_hint("x")(identities).id.text == forge.WEB
            with pytest.raises(HintError):
                by_hint("y")(identities)

    run(main())


@pytest.mark.spec("WAPI-15", "WAPI-16", "WAPI-62")
def test_tokens_that_are_redacted_are_gone() -> None:
    async def main() -> None:
        feed = Feed[pb.WITSVIDResponse](
            [wits(one_wit(hint="x"), one_wit(uri=OTHER)), wits(one_wit(uri=OTHER)), DENIED]
        )
        async with asking(FakeWorkloadAPI(wits=feed)) as (client, _):
            events = client.watch_wit()
            async with aclosing(events):
                first, second, third = [await anext(events) for _ in range(3)]
        assert isinstance(first, Updated)
        assert isinstance(second, Updated)
        assert [each.id.text for each in first.value] == [forge.WEB, OTHER]
        assert [(each.id.text, each.hint) for each in second.value] == [(OTHER, "")]
        assert isinstance(third, Revoked)

    run(main())


@pytest.mark.spec("WAPI-15", "WAPI-17", "WAPI-81")
def test_keys_that_are_redacted_are_gone() -> None:
    async def main() -> None:
        feed = Feed[pb.WITBundlesResponse]([wit_keys(a=KEYS, b=KEYS), wit_keys(a=key_set()), DENIED])
        api = FakeWorkloadAPI(wits=Feed([wits(one_wit())]), wit_bundles=feed)
        async with asking(api) as (client, _):
            (identity,) = await client.fetch_wit_svids()
            events = client.watch_wit_bundles()
            async with aclosing(events):
                first, second, third = [await anext(events) for _ in range(3)]
        assert isinstance(first, Updated)
        assert isinstance(second, Updated)
        assert accepted(first.value, identity)
        assert list(second.value) == [forge.A]
        assert not accepted(second.value, identity)
        assert isinstance(third, Revoked)

    run(main())


@pytest.mark.spec("WAPI-63")
def test_keys_for_wit_svids_validate_nothing_else() -> None:
    async def main() -> None:
        (jwt_key,) = json.loads(key_set(tokens.authority("k1")[0]))["keys"]
        (wit_key,) = json.loads(KEYS)["keys"]
        document = {"keys": [{**jwt_key, "use": "jwt-svid"}, {**wit_key, "use": "wit-svid"}]}
        feed = Feed([wit_keys(a=json.dumps(document).encode())])
        async with asking(FakeWorkloadAPI(wit_bundles=feed)) as (client, _):
            bundles = await client.fetch_wit_bundles()
        assert bundles.authorities(forge.A) == (W1,)
        # They are no source of bundles, which is what verifying anything else asks for; mypy says so too.
        with pytest.raises(AttributeError):
            verify_x509([LEAF.der], bundles, now=tokens.NOW)  # type: ignore[arg-type]
        with pytest.raises(AttributeError):
            validate_jwt(
                tokens.jwt(),
                bundles,  # type: ignore[arg-type]
                [tokens.AUDIENCE],
                now=tokens.NOW,
            )
        with pytest.raises(FinialError):
            bundles.validate(tokens.jwt(), tokens.proof(tokens.jwt()), scope=SCOPE, now=tokens.NOW)

    run(main())


def accepted(bundles: WITBundles, identity: WITIdentity) -> bool:
    proof = identity.prove(SCOPE, now=tokens.NOW, jti="one")
    try:
        found = bundles.validate(identity.svid.token, proof, scope=SCOPE, now=tokens.NOW)
    except FinialError:
        return False
    return found.id == identity.id
