"""The SVID service, JWT: who the token names comes from the entry, whom it is for from the request."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from finial.core import base64url
from finial.core.errors import FinialError, Kind
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID, validate_jwt
from finial.rpc import RpcError, StatusCode
from finial.runtime.metrics import Counter
from finial.server.api.audiences import MOST_AUDIENCES, MOST_CHARACTERS, AudienceWatch
from finial.server.api.svid import Ground
from finial.server.api.svid_jwt import JWTService, Terms
from finial.server.ca.tokens import JWTSigner
from finial.server.signing import Turns
from finial.server.store.records import Change, ChangeKind
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from support.clock import START, FixedChance, settle
from support.server_store import DOMAIN, an_entry
from support.svid_desk import KEY_END, LOCAL, PARENT, Desk, desk

WEB = SpiffeID("spiffe://example.org/web")
MINUTE = timedelta(minutes=1)
SERVER = "spiffe://example.org/spire/server"
NO_WORKLOAD = 'is not a workload in trust domain "example.org"'


def at_desk(test: Callable[[Desk], Awaitable[None]], folder: Path, **more: object) -> None:
    """Run a test at a desk where the agent has an entry `web`."""

    async def main() -> None:
        async with desk(folder, **more) as made:  # type: ignore[arg-type]  # what a test names
            await made.world.create(an_entry("web", parent=PARENT))
            await test(made)

    asyncio.run(main())


def test_a_token_names_the_entrys_id_and_is_for_whom_was_asked(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        found = await made.new("web", "reports")
        proof = validate_jwt(found.token, made.trust, ["reports"], now=START)
        assert proof.id == WEB
        assert proof.svid.claims == {
            "sub": WEB.text,
            "aud": ("reports",),
            "iat": int(START.timestamp()),
            "exp": int((START + timedelta(minutes=5)).timestamp()),
        }
        assert (found.id.trust_domain, found.id.path, found.hint) == ("example.org", "/web", "")
        assert (found.issued_at, found.expires_at) == (proof.svid.claims["iat"], proof.svid.claims["exp"])
        assert (made.figures.jwt.value, made.figures.several.value) == (1, 0)

    at_desk(test, tmp_path)


def test_the_hint_stays_with_the_agent_as_with_certificates(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        await made.world.create(an_entry("named", parent=PARENT, hint="internal"))
        assert (await made.new("named", "a")).hint == ""

    at_desk(test, tmp_path)


@pytest.mark.parametrize(
    ("entry_ttl", "longest", "life"),
    [
        (timedelta(0), None, timedelta(minutes=5)),
        (90 * MINUTE, None, 90 * MINUTE),
        (90 * MINUTE, 2 * MINUTE, 2 * MINUTE),
        (timedelta(0), 2 * MINUTE, 2 * MINUTE),
        (MINUTE, 2 * MINUTE, MINUTE),
        (timedelta(hours=48), None, KEY_END - START),
    ],
)
def test_a_lifetime_is_the_entrys_or_the_servers_and_has_its_bounds(
    tmp_path: Path, entry_ttl: timedelta, longest: timedelta | None, life: timedelta
) -> None:
    async def test(made: Desk) -> None:
        await made.world.create(an_entry("timed", parent=PARENT, jwt_svid_ttl=entry_ttl))
        found = await made.new("timed", "a")
        assert found.expires_at - found.issued_at == life.total_seconds()

    at_desk(test, tmp_path, terms=Terms(timedelta(minutes=5), longest))


def test_an_entry_that_asks_for_it_gets_tokens_with_an_identifier_of_128_bits(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        await made.world.create(an_entry("unique", parent=PARENT, jwt_svid_include_jti=True))
        made_ids = [JWTSVID.parse((await made.new("unique", "a")).token).claims["jti"] for _ in range(3)]
        assert len(set(made_ids)) == 3
        assert {len(base64url.decode(str(each))) for each in made_ids} == {16}

    at_desk(test, tmp_path)


def test_tokens_name_the_issuer_that_is_configured(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        for found in (await made.new("web", "a"), await made.mint("/web", "a")):
            assert JWTSVID.parse(found.token).claims["iss"] == "https://issuer.example.org"

    terms = Terms(timedelta(minutes=5), issuer="https://issuer.example.org")
    at_desk(test, tmp_path, terms=terms)


def test_audiences_are_kept_in_order_each_once_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        found = await made.new("web", "b", "", "a", "b")
        assert JWTSVID.parse(found.token).audience == ("b", "a")
        assert made.figures.several.value == 1

    at_desk(test, tmp_path)


@pytest.mark.parametrize(
    ("entry_id", "audience", "code", "text"),
    [
        ("", ["a"], StatusCode.NOT_FOUND, "entry not found or not authorized"),
        ("nobody", ["a"], StatusCode.NOT_FOUND, "entry not found or not authorized"),
        ("foreign", ["a"], StatusCode.NOT_FOUND, "entry not found or not authorized"),
        ("ended", ["a"], StatusCode.NOT_FOUND, "entry not found or not authorized"),
        ("nobody", [], StatusCode.NOT_FOUND, "entry not found or not authorized"),
        ("web", [], StatusCode.INVALID_ARGUMENT, "at least one audience is required"),
        ("web", ["", ""], StatusCode.INVALID_ARGUMENT, "at least one audience is required"),
    ],
)
def test_what_an_agent_gets_no_token_for(
    tmp_path: Path, entry_id: str, audience: list[str], code: StatusCode, text: str
) -> None:
    async def test(made: Desk) -> None:
        await made.world.create(
            an_entry("foreign", parent="elsewhere"), an_entry("ended", parent=PARENT, expires_at=START)
        )
        with pytest.raises(RpcError) as caught:
            await made.new(entry_id, *audience)
        assert (caught.value.code, caught.value.message) == (code, text)
        assert made.figures.jwt.value == 0

    at_desk(test, tmp_path)


def test_what_is_too_long_for_a_token_is_refused(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        # Not RESOURCE_EXHAUSTED, for which an agent would keep all its other workloads waiting.
        for text in ("\u00e4" * 16_000, "\x01" * 5_000, "\U0001f600" * 2_000, '"' * 16_000):
            with pytest.raises(RpcError, match="take more than 20000 characters in a token") as caught:
                await made.new("web", text)
            assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert made.figures.jwt.value == 0
        for most in (["a" * MOST_CHARACTERS], ["\x01" * 3_332], [f"{each:016}" for each in range(1_000)]):
            assert JWTSVID.parse((await made.new("web", *most)).token).audience == tuple(most)

    at_desk(test, tmp_path)


def test_an_entry_that_is_gone_is_signed_for_no_more(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        index = made.world.index
        await made.new("web", "a")
        index.apply([Change(ChangeKind.ENTRY, "web", None)], index.position + 1)
        with pytest.raises(RpcError, match="entry not found or not authorized"):
            await made.new("web", "a")

    at_desk(test, tmp_path)


def test_more_than_five_hundred_a_second_wait_and_whoever_is_banned_meanwhile_gets_none(
    tmp_path: Path,
) -> None:
    refusals: list[RpcError] = []

    def recheck() -> None:
        if refusals:
            raise refusals[0]

    async def test(made: Desk) -> None:
        for _ in range(500):
            await made.new("web", "a")
        waiting = asyncio.ensure_future(made.new("web", "a"))
        await settle()
        assert not waiting.done()
        await made.world.clock.advance(timedelta(seconds=1))
        assert JWTSVID.parse((await waiting).token).id == WEB
        late = [asyncio.ensure_future(made.new("web", "a")) for _ in range(501)]
        refusals.append(RpcError(StatusCode.PERMISSION_DENIED, "banned"))
        await made.world.clock.advance(timedelta(seconds=2))
        ends = await asyncio.gather(*late, return_exceptions=True)
        assert isinstance(ends[-1], RpcError)
        assert ends[-1].code is StatusCode.PERMISSION_DENIED

    at_desk(test, tmp_path, limited=True, recheck=recheck)


def test_what_is_refused_anyhow_waits_for_no_turn(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        for _ in range(500):
            await made.new("web", "a")
        for entry_id, audience in (("web", [""] * (MOST_AUDIENCES + 1)), ("nobody", ["a"])):
            calls = [asyncio.ensure_future(made.new(entry_id, *audience)) for _ in range(200)]
            await settle()
            assert all(call.done() for call in calls)
            ends = await asyncio.gather(*calls, return_exceptions=True)
            codes = {each.code for each in ends if isinstance(each, RpcError)}
            assert codes < {StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND}

    at_desk(test, tmp_path, limited=True)


def test_certificates_and_tokens_have_limits_of_their_own(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        params = svid_pb.NewWITSVIDParams(entry_id="nobody", public_key=b"x")
        assert len(await made.batch(*[params] * 500)) == 500
        await made.new("web", "a")

    at_desk(test, tmp_path, limited=True)


@pytest.mark.parametrize("how", ["banned", "deleted"])
def test_while_others_have_their_turn_it_waits_and_is_judged_again(tmp_path: Path, how: str) -> None:
    refusals: list[RpcError] = []

    def recheck() -> None:
        if refusals:
            raise refusals[0]

    async def test(made: Desk) -> None:
        turns, index = made.jwt._ground.turns, made.world.index
        others = asyncio.ensure_future(turns.each(["x"], str.upper, owner="another", due=turns.due(None)))
        turns._spent = 1.0  # of this slice nothing is left
        calls = [asyncio.ensure_future(made.new("web", "a")) for _ in range(200)]
        await asyncio.sleep(0)  # noqa: TID251 - yields, and waits for nothing
        assert made.figures.jwt.value == 0
        if how == "banned":
            refusals.append(RpcError(StatusCode.PERMISSION_DENIED, "banned"))
        else:
            index.apply([Change(ChangeKind.ENTRY, "web", None)], index.position + 1)
        ends = await asyncio.gather(*calls, return_exceptions=True)
        code = StatusCode.PERMISSION_DENIED if refusals else StatusCode.NOT_FOUND
        assert {each.code for each in ends if isinstance(each, RpcError)} == {code}
        assert made.figures.jwt.value == 0
        assert await others == ["X"]

    at_desk(test, tmp_path, recheck=recheck)


def _bare(desk: Desk, signer: JWTSigner | None) -> JWTService:
    world = desk.world
    return JWTService(
        Ground(world.index, Turns(clock=world.clock, chance=FixedChance()), world.clock),
        signer,
        terms=Terms(timedelta(minutes=5)),
        watch=AudienceWatch(Counter(), Counter(), refuse_wide=False),
        limit=None,
        chance=FixedChance(),
        signed=Counter(),
    )


def test_where_jwt_svids_are_disabled_nothing_is_signed(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        without = dataclasses.replace(made, jwt=_bare(made, None))
        for call in (without.new("web", "a"), without.mint("/web", "a"), without.new("nobody")):
            with pytest.raises(RpcError, match="JWT functionality is disabled") as caught:
                await call
            assert caught.value.code is StatusCode.UNIMPLEMENTED

    at_desk(test, tmp_path)


def test_before_there_is_a_key_it_is_said_to_be_starting(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        early = dataclasses.replace(made, jwt=_bare(made, JWTSigner(DOMAIN, clock=made.world.clock)))
        with pytest.raises(FinialError, match="server is initializing") as caught:
            await early.new("web", "a")
        assert caught.value.reason.kind is Kind.UNAVAILABLE

    at_desk(test, tmp_path)


def test_an_operator_mints_for_any_workload_and_the_token_is_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "finial")

    async def test(made: Desk) -> None:
        found = await made.mint("/backup", "reports", ttl=60)
        proof = validate_jwt(found.token, made.trust, ["reports"], now=START)
        assert proof.id == SpiffeID("spiffe://example.org/backup")
        assert found.expires_at - found.issued_at == 60
        plain = await made.mint("/backup", "reports")
        assert plain.expires_at - plain.issued_at == 300
        assert made.figures.jwt.value == 2
        (first, _) = [record for record in caplog.records if record.message == "JWT-SVID minted"]
        told = getattr(first, "finial_fields", {})
        assert (str(told["id"]), told["audience"], told["by"]) == (proof.id.text, "reports", "unix:1")
        for record in caplog.records:
            for part in found.token.split(".")[1:]:
                assert part not in f"{record.getMessage()} {record.__dict__}"

    at_desk(test, tmp_path)


@pytest.mark.parametrize(
    ("spiffe_id", "text"),
    [
        (None, "invalid SPIFFE ID: request must specify SPIFFE ID"),
        (
            types.SPIFFEID(trust_domain="other.test", path="/x"),
            'invalid SPIFFE ID: "spiffe://other.test/x" is not a member of trust domain "example.org"',
        ),
        (
            types.SPIFFEID(trust_domain="example.org"),
            f'invalid SPIFFE ID: "spiffe://example.org" {NO_WORKLOAD}; path is empty',
        ),
        (
            types.SPIFFEID(trust_domain="example.org", path="/spire/server"),
            f'invalid SPIFFE ID: "{SERVER}" {NO_WORKLOAD}; path is in the reserved namespace',
        ),
        (types.SPIFFEID(trust_domain="example.org", path="x"), "invalid SPIFFE ID: "),
        (types.SPIFFEID(path="/x"), "invalid SPIFFE ID: "),
    ],
)
def test_nothing_is_minted_for_what_is_no_workload_of_the_domain(
    tmp_path: Path, spiffe_id: types.SPIFFEID | None, text: str
) -> None:
    async def test(made: Desk) -> None:
        request = svid_pb.MintJWTSVIDRequest(id=spiffe_id, audience=["a"])
        with pytest.raises(RpcError) as caught:
            await made.jwt.mint(request, LOCAL)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert caught.value.message.startswith(text)

    at_desk(test, tmp_path)


@pytest.mark.parametrize(
    ("audience", "ttl", "text"),
    [
        ([], 0, "at least one audience is required"),
        ([""], 0, "at least one audience is required"),
        (["a"], -1, "ttl is negative"),
    ],
)
def test_nothing_is_minted_for_nobody_or_for_less_than_no_time(
    tmp_path: Path, audience: list[str], ttl: int, text: str
) -> None:
    async def test(made: Desk) -> None:
        with pytest.raises(RpcError) as caught:
            await made.mint("/x", *audience, ttl=ttl)
        assert (caught.value.code, caught.value.message) == (StatusCode.INVALID_ARGUMENT, text)

    at_desk(test, tmp_path)


def test_a_token_for_a_whole_trust_domain_is_refused_where_that_is_wanted(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        for call in (made.new("web", "spiffe://other.test"), made.mint("/web", "a", "spiffe://example.org")):
            with pytest.raises(RpcError, match="is a whole trust domain; name the service") as caught:
                await call
            assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert made.figures.jwt.value == 0

    at_desk(test, tmp_path, refuse_wide=True)
