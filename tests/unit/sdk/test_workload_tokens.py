"""The client of the Workload API against a fake one: tokens and the keys to validate them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest

from finial.core.errors import FinialError, Kind, SpiffeIDError
from finial.core.ids import SpiffeID
from finial.rpc import RpcError, StatusCode, Unix
from finial.sdk import HintError, ResponseError, Revoked, Updated, WorkloadAPIError, WorkloadClient
from finial.wire.gen import google_protobuf as well_known
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.clock import FixedChance, ManualClock, settle
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
from support.rpc import eventually, run
from support.watching import LEAF

OTHER = "spiffe://a.test/other"
KEYS = key_set(tokens.authority("k1")[0])
DENIED = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")


def client(address: Unix) -> WorkloadClient:
    return WorkloadClient(address, clock=ManualClock(), chance=FixedChance(1.0))


def test_a_token_for_an_audience() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(jwt=jwts(one_jwt(), one_jwt(uri=OTHER, hint="x")))
        async with serving(api) as address, client(address) as asking:
            both = await asking.fetch_jwt_svids(tokens.AUDIENCE)
            assert [svid.id.text for svid in both] == [forge.WEB, OTHER]
            assert await asking.fetch_jwt_svid(tokens.AUDIENCE) == both[0]
            assert await asking.fetch_jwt_svid(tokens.AUDIENCE, hint="x") == both[1]
            with pytest.raises(HintError, match="no SVID has the hint 'y'"):
                await asking.fetch_jwt_svid(tokens.AUDIENCE, hint="y")
        request = api.asked[0]
        assert isinstance(request, pb.JWTSVIDRequest)
        assert (list(request.audience), request.spiffe_id) == ([tokens.AUDIENCE], "")

    run(main())


@pytest.mark.parametrize("wanted", [OTHER, SpiffeID(OTHER)])
def test_one_identity_may_be_asked_for(wanted: SpiffeID | str) -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(
            jwt=jwts(one_jwt(tokens.jwt(sub=OTHER, aud=["a", "b"]), OTHER)),
            wits=Feed([wits(one_wit(uri=OTHER))]),
        )
        async with serving(api) as address, client(address) as asking:
            svid = await asking.fetch_jwt_svid("a", "b", "a", spiffe_id=wanted)
            assert svid.audience == ("a", "b")
            (identity,) = await asking.fetch_wit_svids(spiffe_id=wanted)
            assert identity.id.text == OTHER
        assert api.asked == [
            pb.JWTSVIDRequest(audience=["a", "b"], spiffe_id=OTHER),
            pb.WITSVIDRequest(spiffe_id=OTHER),
        ]

    run(main())


def test_what_cannot_be_asked_is_not() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(jwt=jwts(one_jwt()), validated=DENIED, wits=Feed())
        async with serving(api) as address, client(address) as asking:
            for audience in ((), ("",), (tokens.AUDIENCE, "")):
                with pytest.raises(WorkloadAPIError, match="without an audience"):
                    await asking.fetch_jwt_svids(*audience)
            with pytest.raises(WorkloadAPIError, match="without an audience"):
                await asking.validate_jwt_svid(tokens.jwt(), "")
            with pytest.raises(SpiffeIDError):
                await asking.fetch_jwt_svid("a", spiffe_id="a.test/x")
            with pytest.raises(SpiffeIDError):
                asking.watch_wit(spiffe_id="a.test/x")
        assert api.calls == 0

    run(main())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (DENIED, "workload-denied"),
        (RpcError(StatusCode.UNAVAILABLE, "no signer"), "workload-unavailable"),
        (RpcError(StatusCode.INVALID_ARGUMENT, "invalid requested SPIFFE ID"), "workload-refused"),
        (None, "workload-unimplemented"),
    ],
)
def test_why_there_is_no_token(answer: RpcError | None, reason: str) -> None:
    async def main() -> None:
        async with serving(FakeWorkloadAPI(jwt=answer)) as address, client(address) as asking:
            with pytest.raises(WorkloadAPIError) as caught:
                await asking.fetch_jwt_svid("a")
            assert caught.value.reason.id == reason
            assert caught.value.reason.hint

    run(main())


def test_an_identity_that_is_not_given_is_named() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(jwt=DENIED, wits=Feed([DENIED]))
        async with serving(api) as address, client(address) as asking:
            text = f"does not give this process the identity {OTHER}: no identity issued"
            with pytest.raises(WorkloadAPIError, match=text):
                await asking.fetch_jwt_svid("a", spiffe_id=OTHER)
            with pytest.raises(WorkloadAPIError, match=text):
                await asking.fetch_wit_svids(spiffe_id=OTHER)

    run(main())


def test_an_answer_that_breaks_rules_is_refused() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(jwt=jwts(one_jwt()), validated=pb.ValidateJWTSVIDResponse())
        async with serving(api) as address, client(address) as asking:
            with pytest.raises(ResponseError, match="is not for 'other'"):
                await asking.fetch_jwt_svid("other")
            with pytest.raises(ResponseError, match="the field spiffe_id is empty"):
                await asking.validate_jwt_svid("x", "a")
            api.jwt = jwts(*[one_jwt("x" * 1_000_000)] * 5)
            with pytest.raises(WorkloadAPIError, match="RESOURCE_EXHAUSTED"):
                await asking.fetch_jwt_svid("other")

    run(main())


def claims() -> well_known.Struct:
    message = well_known.Struct()
    message.update({"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": tokens.SECONDS})
    return message


def test_the_agent_validates() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(validated=pb.ValidateJWTSVIDResponse(spiffe_id=forge.WEB, claims=claims()))
        async with serving(api) as address, client(address) as asking:
            found = await asking.validate_jwt_svid("a.b.c", tokens.AUDIENCE)
            assert found.id.text == forge.WEB
            assert found.claims["exp"] == tokens.SECONDS
            assert api.asked == [pb.ValidateJWTSVIDRequest(audience=tokens.AUDIENCE, svid="a.b.c")]

    run(main())


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (RpcError(StatusCode.INVALID_ARGUMENT, "token has expired"), Kind.UNTRUSTED, "not valid: token has"),
        (RpcError(StatusCode.INVALID_ARGUMENT, ""), Kind.UNTRUSTED, "not valid$"),
        (RpcError(StatusCode.UNAVAILABLE, "starting"), Kind.UNAVAILABLE, "is not available: starting"),
        (DENIED, Kind.DENIED, "no identity issued"),
        (None, Kind.MISSING, "does not serve what was asked for"),
    ],
)
def test_a_token_that_proves_nothing_is_told_from_an_agent_that_cannot_say(
    answer: RpcError | None, kind: Kind, text: str
) -> None:
    async def main() -> None:
        async with serving(FakeWorkloadAPI(validated=answer)) as address, client(address) as asking:
            with pytest.raises(WorkloadAPIError, match=text) as caught:
                await asking.validate_jwt_svid("a.b.c", tokens.AUDIENCE)
            assert caught.value.reason.kind is kind
            assert "a.b.c" not in str(caught.value)

    run(main())


@pytest.mark.parametrize("shown", ["\udcff.b.c", "ä.b.c", "a" * 32_769])
def test_what_can_be_no_token_is_refused_without_asking(shown: str) -> None:
    async def main() -> None:
        api = FakeWorkloadAPI()
        async with serving(api) as address, client(address) as asking:
            with pytest.raises(WorkloadAPIError, match="no token") as caught:
                await asking.validate_jwt_svid(shown, tokens.AUDIENCE)
        assert caught.value.reason.kind is Kind.UNTRUSTED
        assert shown not in str(caught.value)
        assert not api.asked

    run(main())


def test_what_an_agent_says_is_one_line_for_whoever_logs_it() -> None:
    async def main() -> None:
        refusal = RpcError(StatusCode.INVALID_ARGUMENT, "no\nERROR all is lost \x1b[2J")
        async with serving(FakeWorkloadAPI(validated=refusal)) as address, client(address) as asking:
            with pytest.raises(WorkloadAPIError) as caught:
                await asking.validate_jwt_svid("a.b.c", tokens.AUDIENCE)
        assert str(caught.value).endswith(r"no\nERROR all is lost \x1b[2J")

    run(main())


def test_watching_the_keys_for_tokens() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(
            jwt_bundles=Feed([jwt_keys(a=KEYS, b=KEYS), jwt_keys(a=KEYS), DENIED]),
            wit_bundles=Feed([wit_keys(a=KEYS), DENIED]),
            wits=Feed([wits(one_wit(), one_wit(uri=OTHER)), wits(one_wit()), DENIED]),
        )
        async with serving(api) as address, client(address) as asking:
            assert forge.B in await asking.fetch_jwt_bundles()
            assert forge.A in await asking.fetch_wit_bundles()
            for events, sizes in (
                (asking.watch_jwt_bundles(), [2, 1]),
                (asking.watch_wit_bundles(), [1]),
                (asking.watch_wit(), [2, 1]),
            ):
                async with aclosing(events):
                    for size in sizes:
                        event = await anext(events)
                        assert isinstance(event, Updated)
                        assert len(event.value) == size
                    assert isinstance(await anext(events), Revoked)

    run(main())


def test_a_bad_message_leaves_what_was_known(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        problems: list[FinialError] = []
        api = FakeWorkloadAPI(jwt_bundles=Feed([jwt_keys(a=KEYS)]), wits=Feed([wits(one_wit())]))
        async with serving(api) as address, client(address) as asking:
            keys = asking.watch_jwt_bundles(report=problems.append)
            identities = asking.watch_wit(report=problems.append)
            async with aclosing(keys), aclosing(identities):
                await anext(keys)
                await anext(identities)
                assert api.jwt_bundles is not None
                assert api.wits is not None
                api.jwt_bundles.push(jwt_keys())
                api.jwt_bundles.push(jwt_keys(a=KEYS, b=b"x"))
                assert isinstance(await anext(keys), Updated)
                api.wits.push(wits(one_wit("x.y.z")))
                api.wits.push(wits(one_wit()))
                assert isinstance(await anext(identities), Updated)
        assert [problem.reason.id for problem in problems] == [
            "workload-response-empty",
            "workload-response-key-set",
            "workload-response-wit",
        ]

    run(main())
    assert "a message of the Workload API was discarded" in caplog.text


def test_an_agent_without_a_profile_is_asked_once_and_the_others_go_on() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI([svids(one_svid(LEAF))], jwt_bundles=Feed([jwt_keys(a=KEYS)]))
        async with serving(api) as address:
            clock = ManualClock()
            async with WorkloadClient(address, clock=clock, chance=FixedChance(1.0)) as asking:
                x509, keys = asking.watch_x509(), asking.watch_jwt_bundles()
                async with aclosing(x509), aclosing(keys):
                    await anext(x509)
                    await anext(keys)
                    for events in (asking.watch_wit(), asking.watch_wit_bundles()):
                        with pytest.raises(WorkloadAPIError, match="does not serve what was asked for"):
                            await anext(events)
                        await clock.advance(forge.DAY)
                    assert api.calls == 2  # neither was asked for again, or it would have been noted
                    assert api.jwt_bundles is not None
                    api.jwt_bundles.push(jwt_keys(a=KEYS, b=KEYS))
                    api.push(svids(one_svid(LEAF)))
                    assert isinstance(await anext(keys), Updated)
                    assert isinstance(await anext(x509), Updated)

    run(main())


def test_no_token_and_no_key_gets_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def main() -> None:
        bad = one_wit(uri=OTHER)
        bad.spiffe_id = forge.WEB
        api = FakeWorkloadAPI(
            jwt=jwts(one_jwt(hint="x"), one_jwt(uri=OTHER, hint="x")),
            wits=Feed([wits(bad), wits(one_wit(hint="x"), one_wit(uri=OTHER, hint="x"))]),
        )
        async with serving(api) as address, client(address) as asking:
            await asking.fetch_jwt_svid(tokens.AUDIENCE)
            events = asking.watch_wit()
            async with aclosing(events):
                event = await anext(events)
                assert isinstance(event, Updated)
                assert "eyJ" not in repr(event)

    run(main())
    assert "a second SVID with the hint 'x'" in caplog.text
    assert "eyJ" not in caplog.text
    assert '"d"' not in caplog.text


def test_closing_ends_the_watches_of_tokens() -> None:
    async def main() -> None:
        api = FakeWorkloadAPI(wits=Feed([wits(one_wit())]))
        async with serving(api) as address:
            asking = client(address)
            events = asking.watch_wit()
            await anext(events)
            waiting = asyncio.ensure_future(anext(events, None))
            await settle()
            await asking.close()
            assert await waiting is None
            with pytest.raises(WorkloadAPIError, match="is closed"):
                await asking.fetch_jwt_svid("a")
            await eventually(lambda: api.wits is not None and not api.wits.open)

    run(main())
