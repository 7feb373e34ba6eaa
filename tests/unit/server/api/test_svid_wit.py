"""The SVID service, WIT: the entry says whom the token names, the request gives the key it is bound to."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from finial.core import base64url
from finial.core.algorithms import Algorithm, verifies
from finial.core.errors import FinialError, Kind
from finial.core.ids import SpiffeID
from finial.core.keys import public_key_der
from finial.core.witsvid import WITSVID
from finial.rpc import RpcError, StatusCode
from finial.runtime.metrics import Counter
from finial.server.api.svid import Ground
from finial.server.api.svid_wit import WITService
from finial.server.ca.tokens import WITSigner
from finial.server.signing import Turns
from finial.server.store.records import Change, ChangeKind
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from support import forge
from support.clock import START, FixedChance
from support.server_store import DOMAIN, an_entry
from support.svid_desk import KEY_END, LOCAL, PARENT, Desk, desk

WEB = SpiffeID("spiffe://example.org/web")
KEY = public_key_der(forge.key("holder").public_key())
Params = svid_pb.NewWITSVIDParams


def at_desk(test: Callable[[Desk], Awaitable[None]], folder: Path, **more: object) -> None:
    """Run a test at a desk where the agent has an entry `web`."""

    async def main() -> None:
        async with desk(folder, **more) as made:  # type: ignore[arg-type]  # what a test names
            await made.world.create(an_entry("web", parent=PARENT))
            await test(made)

    asyncio.run(main())


def _proven(made: Desk, found: types.WITSVID) -> WITSVID:
    """The token, which the key of the trust domain has signed."""
    svid = WITSVID.parse(found.token)
    authority = made.wit_signer.authority
    assert authority is not None
    assert svid.key_id == authority.key_id
    head, _, signature = found.token.rpartition(".")
    assert verifies(authority.key, svid.algorithm, head.encode(), base64url.decode(signature))
    return svid


def mint_request(
    key: bytes = KEY, *, path: str = "/backup", algorithm: str = "", ttl: int = 0
) -> svid_pb.MintWITSVIDRequest:
    return svid_pb.MintWITSVIDRequest(
        id=types.SPIFFEID(trust_domain="example.org", path=path),
        public_key=key,
        signing_algorithm=algorithm,
        ttl=ttl,
    )


@pytest.mark.parametrize(
    ("kind", "asked", "algorithm"),
    [
        ("ec-p256", "ES256", "ES256"),
        ("ec-p256", "", "ES256"),
        ("ec-p384", "", "ES384"),
        ("ec-p521", "ES512", "ES512"),
        ("rsa-2048", "", "RS256"),
        ("rsa-2048", "PS384", "PS384"),
    ],
)
def test_a_token_names_the_entrys_id_and_is_bound_to_the_key_of_the_request(
    tmp_path: Path, kind: str, asked: str, algorithm: str
) -> None:
    key = forge.key("holder", kind).public_key()

    async def test(made: Desk) -> None:
        params = Params(entry_id="web", public_key=public_key_der(key), signing_algorithm=asked)
        (result,) = await made.batch(params)
        assert (result.status.code, result.status.message) == (0, "OK")
        svid = _proven(made, result.svid)
        assert (svid.id, svid.key, svid.key_algorithm) == (WEB, key, Algorithm(algorithm))
        assert svid.claims.keys() == {"sub", "iat", "exp", "jti", "cnf"}
        assert (result.svid.id.trust_domain, result.svid.id.path) == ("example.org", "/web")
        assert result.svid.issued_at == svid.claims["iat"] == int(START.timestamp())
        assert result.svid.expires_at == svid.claims["exp"] == int(START.timestamp()) + 3600
        assert result.svid.hint == ""
        assert made.figures.wit.value == 1

    at_desk(test, tmp_path)


@pytest.mark.parametrize(
    ("ttl", "life"),
    [(timedelta(minutes=5), timedelta(minutes=5)), (timedelta(hours=48), KEY_END - START)],
)
def test_a_lifetime_is_that_of_the_entrys_certificates(
    tmp_path: Path, ttl: timedelta, life: timedelta
) -> None:
    async def test(made: Desk) -> None:
        await made.world.create(
            an_entry("timed", parent=PARENT, x509_svid_ttl=ttl, jwt_svid_ttl=timedelta(seconds=7))
        )
        (result,) = await made.batch(Params(entry_id="timed", public_key=KEY))
        assert result.svid.expires_at - result.svid.issued_at == life.total_seconds()

    at_desk(test, tmp_path)


def test_each_token_has_an_identifier_of_its_own(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        results = await made.batch(*[Params(entry_id="web", public_key=KEY)] * 3)
        found = [str(WITSVID.parse(result.svid.token).claims["jti"]) for result in results]
        assert len(set(found)) == 3
        assert {len(base64url.decode(each)) for each in found} == {16}

    at_desk(test, tmp_path)


def _ed25519() -> bytes:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _odd_curve() -> bytes:
    key = ec.derive_private_key(5, ec.SECP256K1()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_each_item_succeeds_or_fails_on_its_own(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        await made.world.create(an_entry("foreign", parent="elsewhere"))
        results = await made.batch(
            Params(public_key=KEY),
            Params(entry_id="web"),
            Params(entry_id="foreign", public_key=KEY),
            Params(entry_id="nobody", public_key=b"x"),
            Params(entry_id="web", public_key=b"garbage"),
            Params(entry_id="web", public_key=_odd_curve()),
            Params(entry_id="web", public_key=_ed25519()),
            Params(entry_id="web", public_key=KEY, signing_algorithm="ES384"),
            Params(entry_id="web", public_key=KEY, signing_algorithm="none"),
            Params(entry_id="web", public_key=KEY),
        )
        assert [(each.status.code, each.status.message.partition(": ")[0]) for each in results] == [
            (3, "missing entry ID"),
            (3, "missing public key"),
            (5, "entry not found or not authorized"),
            (5, "entry not found or not authorized"),
            (3, "malformed public key"),
            (3, "malformed public key"),
            (3, "invalid signing algorithm or key type"),
            (3, "invalid signing algorithm or key type"),
            (3, "invalid signing algorithm or key type"),
            (0, "OK"),
        ]
        assert made.figures.wit.value == 1

    at_desk(test, tmp_path)


def test_an_empty_batch_and_one_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        with pytest.raises(RpcError, match="missing parameters") as caught:
            await made.batch()
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        with pytest.raises(RpcError, match=r"rate \(501\) exceeds burst size \(500\)"):
            await made.batch(*[Params(entry_id="web", public_key=KEY)] * 501)

    at_desk(test, tmp_path, limited=True)


@pytest.mark.parametrize("how", ["banned", "entry gone"])
def test_what_ends_while_others_have_their_turn_is_signed_no_more(tmp_path: Path, how: str) -> None:
    refusals: list[RpcError] = []

    def recheck() -> None:
        if refusals:
            raise refusals[0]

    async def test(made: Desk) -> None:
        sign = made.wit_signer.sign_wit

        class Signer:
            signed = 0

            def sign_wit(self, *args: object) -> WITSVID:
                self.signed += 1
                if self.signed == 2 and how == "banned":
                    refusals.append(RpcError(StatusCode.PERMISSION_DENIED, "banned"))
                elif self.signed == 2:
                    index = made.world.index
                    index.apply([Change(ChangeKind.ENTRY, "web", None)], index.position + 1)
                return sign(*args)  # type: ignore[arg-type]  # passed on as they come

        other = dataclasses.replace(made, wit=_bare(made, Signer()))
        answer = other.batch(*[Params(entry_id="web", public_key=KEY)] * 4)
        if how == "banned":
            with pytest.raises(RpcError, match="banned"):
                await answer
        else:
            assert [result.status.code for result in await answer] == [0, 0, 5, 5]

    at_desk(test, tmp_path, recheck=recheck)


def _bare(desk: Desk, signer: object) -> WITService:
    world = desk.world
    return WITService(
        Ground(world.index, Turns(clock=world.clock, chance=FixedChance()), world.clock),
        signer,  # type: ignore[arg-type]  # what a test brings
        ttl=timedelta(hours=1),
        limit=None,
        chance=FixedChance(),
        signed=Counter(),
    )


def test_where_nobody_has_opted_in_nothing_is_signed(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        without = dataclasses.replace(made, wit=_bare(made, None))
        for call in (without.batch(), without.wit.mint(mint_request(), LOCAL)):
            with pytest.raises(RpcError, match="WIT functionality is disabled") as caught:
                await call
            assert caught.value.code is StatusCode.UNIMPLEMENTED

    at_desk(test, tmp_path)


def test_before_there_is_a_key_it_is_said_to_be_starting(tmp_path: Path) -> None:
    async def test(made: Desk) -> None:
        early = dataclasses.replace(made, wit=_bare(made, WITSigner(DOMAIN, clock=made.world.clock)))
        (result,) = await early.batch(Params(entry_id="web", public_key=KEY))
        assert (result.status.code, result.status.message) == (
            StatusCode.UNAVAILABLE,
            "failed to sign WIT-SVID: server is initializing",
        )
        with pytest.raises(FinialError, match="server is initializing") as caught:
            await early.wit.mint(mint_request(), LOCAL)
        assert caught.value.reason.kind is Kind.UNAVAILABLE

    at_desk(test, tmp_path)


def test_an_operator_mints_for_any_workload_and_the_token_is_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "finial")

    async def test(made: Desk) -> None:
        found = (await made.wit.mint(mint_request(algorithm="ES256", ttl=60), LOCAL)).svid
        svid = _proven(made, found)
        assert svid.id == SpiffeID("spiffe://example.org/backup")
        assert found.expires_at - found.issued_at == 60
        assert public_key_der(svid.key) == KEY
        plain = (await made.wit.mint(mint_request(), LOCAL)).svid
        assert plain.expires_at - plain.issued_at == 3600
        told = [record.__dict__["finial_fields"] for record in caplog.records]
        assert [(str(each["id"]), each["by"]) for each in told] == [(svid.id.text, "unix:1")] * 2
        assert told[0]["jti"] == svid.claims["jti"]
        for record in caplog.records:
            for part in found.token.split(".")[1:]:
                assert part not in f"{record.getMessage()} {record.__dict__}"

    at_desk(test, tmp_path)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (svid_pb.MintWITSVIDRequest(public_key=KEY), "invalid SPIFFE ID: request must specify SPIFFE ID"),
        (mint_request(path=""), "path is empty"),
        (mint_request(path="/spire/x"), "path is in the reserved namespace"),
        (mint_request(b""), "invalid public key: "),
        (mint_request(b"garbage"), "invalid public key: "),
        (mint_request(KEY + bytes(4096)), "invalid public key: 4187 bytes, at most 4096 are read"),
        (mint_request(_ed25519()), "invalid signing algorithm or key type: "),
        (
            mint_request(algorithm="RS256"),
            "invalid signing algorithm or key type: RS256 does not go with a key of this type",
        ),
        (
            mint_request(algorithm="es256\n"),
            r"invalid signing algorithm or key type: 'es256\n' is none of RS256, RS384, RS512, ES256",
        ),
        (mint_request(ttl=-1), "ttl is negative"),
    ],
)
def test_what_must_not_be_minted_is_refused(
    tmp_path: Path, request_: svid_pb.MintWITSVIDRequest, text: str
) -> None:
    async def test(made: Desk) -> None:
        with pytest.raises(RpcError) as caught:
            await made.wit.mint(request_, LOCAL)
        assert caught.value.code is StatusCode.INVALID_ARGUMENT
        assert text in caught.value.message
        assert made.figures.wit.value == 0

    at_desk(test, tmp_path)
