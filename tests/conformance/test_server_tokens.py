"""What binds the issuer of tokens, asked of a whole server over its sockets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from finial.cli.server.mint_jwt import mint
from finial.core import base64url
from finial.core.algorithms import Algorithm, verifies
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID, VerifiedJWT, validate_jwt
from finial.core.keys import public_key_der
from finial.core.revision import STANDARDS
from finial.core.witsvid import WITSVID
from finial.rpc import Channel, RpcError, StatusCode
from finial.runtime.config import load
from finial.runtime.metrics import Counter
from finial.server.api.audiences import AudienceWatch
from finial.server.config import ServerSettings
from finial.wire.gen import spire_api_server_localauthority_v1 as authority_pb
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types
from support.clock import START
from support.server_app import DOMAIN, RunningServer, an_entry, running

SVID = svid_pb.SVID
WEB = SpiffeID("spiffe://example.org/web")
HOLDER = ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """A server, an agent of it, and an entry `/web` for the agent."""

    def __init__(self, server: RunningServer, agent: Channel, entry_id: str) -> None:
        self.server = server
        self.agent = agent
        self.entry_id = entry_id

    async def new(self, *audience: str) -> types.JWTSVID:
        """A JWT-SVID for the entry, as an agent asks for it."""
        request = svid_pb.NewJWTSVIDRequest(entry_id=self.entry_id, audience=audience)
        return (await self.agent.unary(SVID.NewJWTSVID, request)).svid

    async def mint(self, *audience: str) -> types.JWTSVID:
        """A JWT-SVID for the same workload, as an operator asks for it."""
        spiffe_id = types.SPIFFEID(trust_domain=DOMAIN.name, path="/web")
        request = svid_pb.MintJWTSVIDRequest(id=spiffe_id, audience=audience)
        return (await self.server.admin.unary(SVID.MintJWTSVID, request)).svid

    async def wit(self) -> WITSVID:
        """A WIT-SVID for the entry."""
        params = svid_pb.NewWITSVIDParams(
            entry_id=self.entry_id, public_key=public_key_der(HOLDER.public_key()), signing_algorithm="ES256"
        )
        request = svid_pb.BatchNewWITSVIDRequest(params=[params])
        (result,) = (await self.agent.unary(SVID.BatchNewWITSVID, request)).results
        assert result.status.code == 0
        return WITSVID.parse(result.svid.token)

    async def proven(self, svid: types.JWTSVID, audience: str) -> VerifiedJWT:
        """What a token proves by the bundle that the server publishes."""
        return validate_jwt(svid.token, await self.server.trust(), [audience], now=START)


@asynccontextmanager
async def issuer(folder: Path, **more: object) -> AsyncIterator[Issuer]:
    async with running(folder, **more) as server:  # type: ignore[arg-type]  # what a test names
        (entry_id,) = await server.create(an_entry("/web"))
        yield Issuer(server, await server.channel((await server.join("/node")).pair), entry_id)


def asked(test: Callable[[Issuer], Awaitable[None]], folder: Path, **more: object) -> None:
    """Run a test against a server with these settings."""

    async def main() -> None:
        async with issuer(folder, **more) as made:
            await test(made)

    asyncio.run(main())


@pytest.mark.spec("JWT-13", "JWT-21")
def test_a_token_names_the_workload_that_it_is_issued_to(tmp_path: Path) -> None:
    async def test(made: Issuer) -> None:
        for found in (await made.new("reports"), await made.mint("reports")):
            proof = await made.proven(found, "reports")
            assert proof.id == WEB
            assert proof.svid.claims["sub"] == WEB.text
            assert proof.svid.issued_at is not None
            assert proof.svid.expires_at > proof.svid.issued_at

    asked(test, tmp_path)


@pytest.mark.spec("JWT-12")
def test_a_token_has_registered_claims_alone_and_each_only_where_it_is_wanted(tmp_path: Path) -> None:
    always = {"sub", "aud", "exp", "iat"}

    async def plain(made: Issuer) -> None:
        assert JWTSVID.parse((await made.new("reports")).token).claims.keys() == always

    async def everything(made: Issuer) -> None:
        entry = an_entry("/unique")
        entry.hint, entry.additional_attributes.jwt_svid_include_jti = "internal", True
        entry.dns_names.append("web.example.org")
        (made.entry_id,) = await made.server.create(entry)
        found = JWTSVID.parse((await made.new("reports", "billing")).token)
        assert found.claims.keys() == {*always, "iss", "jti"}

    asked(plain, tmp_path / "a")
    asked(everything, tmp_path / "b", jwt_issuer="https://issuer.example.org")


@pytest.mark.spec("JWT-15")
@pytest.mark.parametrize("audience", [(), ("",), ("", "")])
def test_a_token_for_nobody_is_refused(tmp_path: Path, audience: tuple[str, ...]) -> None:
    async def test(made: Issuer) -> None:
        for call in (made.new(*audience), made.mint(*audience)):
            with pytest.raises(RpcError, match="at least one audience is required") as caught:
                await call
            assert caught.value.code is StatusCode.INVALID_ARGUMENT

    asked(test, tmp_path)


@pytest.mark.spec("JWT-18", "JWT-43")
def test_several_audiences_work_and_are_visible(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "finial.server")

    async def test(made: Issuer) -> None:
        await made.new("reports")
        assert not [record for record in caplog.records if "several audiences" in record.message]
        found = await made.new("reports", "billing")
        for audience in ("reports", "billing"):
            assert (await made.proven(found, audience)).svid.audience == ("reports", "billing")
        assert len([record for record in caplog.records if "several audiences" in record.message]) == 1

    asked(test, tmp_path)


@pytest.mark.spec("JWT-19")
def test_the_examples_that_operators_are_shown_name_services(caplog: pytest.LogCaptureFixture) -> None:
    words = " ".join(mint.examples).split()
    shown = [value for option, value in pairwise(words) if option == "--audience"]
    assert len(shown) == 2
    several, wide = Counter(), Counter()
    for audience in shown:
        AudienceWatch(several, wide, refuse_wide=True).look((audience,), WEB)
    assert (several.value, wide.value, caplog.records) == (0, 0, [])


@pytest.mark.spec("JWT-20")
def test_a_whole_trust_domain_as_audience_is_warned_of_and_refused_if_that_is_wanted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wide = DOMAIN.id.text

    async def warned(made: Issuer) -> None:
        assert (await made.proven(await made.new(wide), wide)).id == WEB
        (record,) = [record for record in caplog.records if "whole trust domain" in record.message]
        assert record.levelno == logging.WARNING

    async def refused(made: Issuer) -> None:
        with pytest.raises(RpcError, match="is a whole trust domain"):
            await made.new("reports", wide)
        assert (await made.proven(await made.new("reports"), "reports")).id == WEB

    asked(warned, tmp_path / "a")
    asked(refused, tmp_path / "b", refuse_wide_audiences=True)


@pytest.mark.spec("JWT-23")
def test_a_token_lives_five_minutes_and_there_can_be_a_maximum(tmp_path: Path) -> None:
    async def default(made: Issuer) -> None:
        found = await made.new("reports")
        assert found.expires_at - found.issued_at == 300

    async def bounded(made: Issuer) -> None:
        entry = an_entry("/slow")
        entry.jwt_svid_ttl = 3600
        (made.entry_id,) = await made.server.create(entry)
        found = await made.new("reports")
        assert found.expires_at - found.issued_at == 600

    asked(default, tmp_path / "a")
    asked(bounded, tmp_path / "b", max_jwt_svid_ttl=timedelta(minutes=10))


@pytest.mark.spec("JWT-39")
def test_a_token_can_be_given_an_identifier_of_its_own(tmp_path: Path) -> None:
    async def test(made: Issuer) -> None:
        assert "jti" not in JWTSVID.parse((await made.new("reports")).token).claims
        entry = an_entry("/unique")
        entry.additional_attributes.jwt_svid_include_jti = True
        (made.entry_id,) = await made.server.create(entry)
        found = {str(JWTSVID.parse((await made.new("reports")).token).claims["jti"]) for _ in range(3)}
        assert [len(base64url.decode(each)) for each in found] == [16] * 3

    asked(test, tmp_path)


@pytest.mark.spec("STAB-03", "WIT-49")
def test_wit_svids_are_signed_and_their_keys_published_only_after_an_opt_in(tmp_path: Path) -> None:
    async def without(made: Issuer) -> None:
        with pytest.raises(RpcError, match="WIT functionality is disabled") as caught:
            await made.wit()
        assert caught.value.code is StatusCode.UNIMPLEMENTED
        bundle = (await made.server.trust()).bundle_for(DOMAIN)
        assert bundle is not None
        assert (len(bundle.jwt_authorities), len(bundle.wit_authorities)) == (1, 0)

    async def opted_in(made: Issuer) -> None:
        assert (await made.wit()).id == WEB
        bundle = (await made.server.trust()).bundle_for(DOMAIN)
        assert bundle is not None
        assert (len(bundle.jwt_authorities), len(bundle.wit_authorities)) == (1, 1)

    asked(without, tmp_path / "a")
    asked(opted_in, tmp_path / "b", incubating_wit_svid=STANDARDS)


@pytest.mark.spec("WIT-33", "WIT-02", "WIT-06", "WIT-07", "WIT-11", "WIT-12", "WIT-14", "WIT-19", "WIT-57")
def test_a_wit_svid_has_everything_that_issuing_asks_for(tmp_path: Path) -> None:
    async def test(made: Issuer) -> None:
        svid = await made.wit()
        bundle = (await made.server.trust()).bundle_for(DOMAIN)
        assert bundle is not None
        authority = bundle.wit_authority(svid.key_id)
        assert authority is not None
        head, _, signature = svid.token.rpartition(".")
        assert verifies(authority.key, svid.algorithm, head.encode(), base64url.decode(signature))
        assert svid.header == {"alg": "ES256", "kid": authority.key_id, "typ": "wit+jwt"}
        assert (svid.id, svid.key, svid.key_algorithm) == (WEB, HOLDER.public_key(), Algorithm.ES256)
        assert svid.expires_at == START + timedelta(hours=1)
        assert "aud" not in svid.claims

    asked(test, tmp_path, incubating_wit_svid=STANDARDS)


@pytest.mark.spec("WIT-22")
def test_a_wit_svid_lives_for_an_hour_or_as_configured_and_no_longer_than_its_key(tmp_path: Path) -> None:
    async def configured(made: Issuer) -> None:
        assert (await made.wit()).expires_at == START + timedelta(minutes=20)

    async def capped(made: Issuer) -> None:
        svid = await made.wit()
        bundle = (await made.server.trust()).bundle_for(DOMAIN)
        assert bundle is not None
        authority = bundle.wit_authority(svid.key_id)
        assert authority is not None
        assert svid.expires_at == authority.expires_at

    opted = {"incubating_wit_svid": STANDARDS}
    asked(configured, tmp_path / "a", **opted, default_wit_svid_ttl=timedelta(minutes=20))
    asked(capped, tmp_path / "b", **opted, ca_ttl=timedelta(minutes=10))


@pytest.mark.spec("WIT-29")
def test_a_wit_svid_names_no_issuer_whatever_jwt_svids_name(tmp_path: Path) -> None:
    url = "https://issuer.example.org"

    async def test(made: Issuer) -> None:
        assert "iss" not in (await made.wit()).claims
        assert JWTSVID.parse((await made.new("reports")).token).claims["iss"] == url

    asked(test, tmp_path, incubating_wit_svid=STANDARDS, jwt_issuer=url)
    options = {"trust_domain": "example.org", "jwt_issuer": url, "incubating_wit_svid": STANDARDS}
    assert "WIT-SVIDs name none" in load(ServerSettings, options=options).warnings[0]


@pytest.mark.spec("WIT-16", "WIT-36")
def test_each_wit_svid_has_an_identifier_by_which_records_of_it_find_each_other(tmp_path: Path) -> None:
    async def test(made: Issuer) -> None:
        found = {str((await made.wit()).claims["jti"]) for _ in range(20)}
        assert [len(base64url.decode(each)) for each in found] == [16] * 20

    asked(test, tmp_path, incubating_wit_svid=STANDARDS)


@pytest.mark.spec("WIT-04")
def test_a_key_id_belongs_to_one_key_and_is_never_given_again(tmp_path: Path) -> None:
    service = authority_pb.LocalAuthority

    async def test(made: Issuer) -> None:
        admin = made.server.admin
        keys: dict[str, bytes] = {}
        for _ in range(5):
            await admin.unary(service.PrepareWITAuthority, authority_pb.PrepareWITAuthorityRequest())
            await admin.unary(service.PrepareJWTAuthority, authority_pb.PrepareJWTAuthorityRequest())
            bundle = (await made.server.trust()).bundle_for(DOMAIN)
            assert bundle is not None
            for each in (*bundle.jwt_authorities, *bundle.wit_authorities):
                key = public_key_der(each.key)
                assert keys.setdefault(each.key_id, key) == key
        assert len(set(keys.values())) == len(keys) == 12

    asked(test, tmp_path, incubating_wit_svid=STANDARDS)
