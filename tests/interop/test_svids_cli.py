"""SVIDs by SPIRE's command lines from our parts, and by ours from SPIRE's."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from finial.core import jwk
from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import read_bundle
from finial.core.ids import TrustDomain
from finial.core.jwtsvid import validate_jwt
from finial.core.pem import read_certificates
from finial.core.witsvid import WITSVID, validate_wit
from finial.core.wpt import ProofScope, make_proof
from finial.core.x509path import verify_x509
from finial.core.x509svid import X509SVID
from finial.runtime.clock import SystemClock
from support.finial_process import FINIAL, FinialServer
from support.site import TRUST_DOMAIN, ServerDaemon
from support.spire_process import SpireServer
from support.token_domain import INCUBATING, Site, running

BOTH = ("spire", "finial")
DOMAIN = TrustDomain(TRUST_DOMAIN)
WEB = f"spiffe://{TRUST_DOMAIN}/web"
_SECONDS = 60.0


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    error: str

    @property
    def value(self) -> Any:
        """Its output as JSON."""
        assert self.code == 0, self.error
        return json.loads(self.out)


async def say(*command: str | Path) -> Said:
    """Run a command to its end."""
    pipe = asyncio.subprocess.PIPE
    env = {**os.environ, "SPIRE_SERVER_FFLAGS": "wit-svid"}
    process = await asyncio.create_subprocess_exec(*map(str, command), stdout=pipe, stderr=pipe, env=env)
    out, error = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), error.decode())


def in_time(test: Awaitable[None]) -> None:
    """Run a test that has to end."""

    async def main() -> None:
        async with asyncio.timeout(_SECONDS):
            await test

    asyncio.run(main())


@pytest.mark.parametrize("agent", BOTH)
def test_both_command_lines_fetch_and_validate_alike_at_either_agent(
    spire_agent: Path, sockets: Path, agent: str
) -> None:
    site = Site(None, spire_agent if agent == "spire" else None)
    tools: tuple[tuple[str | Path, ...], ...] = ((spire_agent,), (*FINIAL, "agent"))

    async def main() -> None:
        async with running(site, sockets) as domain:
            where = ("-socketPath", domain.agent.socket)
            json_form = (*where, "-output", "json")
            fetched = [
                await say(*tool, "api", "fetch", "jwt", *json_form, "-audience", "a,b") for tool in tools
            ]
            assert fetched[0].value == fetched[1].value  # the agent keeps what it has signed
            [tokens, bundles] = fetched[0].value
            assert {each["spiffe_id"] for each in tokens["svids"]} == domain.ids
            assert list(bundles["bundles"]) == [f"spiffe://{TRUST_DOMAIN}"]
            token = tokens["svids"][0]["svid"]
            for tool in tools:
                for form in ("pretty", "json"):
                    asked = (
                        *tool,
                        "api",
                        "validate",
                        "jwt",
                        *where,
                        "-output",
                        form,
                        "-svid",
                        token,
                        "-audience",
                    )
                    assert (await say(*asked, "a")).code == 0
                    assert (await say(*asked, "c")).code == 1
            asked = ("api", "validate", "jwt", *json_form, "-svid", token, "-audience", "b")
            theirs, ours = [(await say(*tool, *asked)).value for tool in tools]
            assert theirs == ours
            assert theirs["spiffe_id"] in domain.ids

    in_time(main())


Minting = Callable[[ServerDaemon, tuple[str | Path, ...]], Awaitable[None]]


@pytest.fixture(params=[(cli, server) for cli in BOTH for server in BOTH], ids="-at-".join)
def minting(request: pytest.FixtureRequest, spire_server: Path, sockets: Path) -> Callable[[Minting], None]:
    """Runs a test with a command line and a server that also signs WIT-SVIDs."""
    cli, made_by = request.param
    tool = (spire_server,) if cli == "spire" else (*FINIAL, "server")
    server: ServerDaemon = (
        SpireServer(spire_server, sockets / "s", wit=True)
        if made_by == "spire"
        else FinialServer(sockets / "s", INCUBATING)
    )

    def run(test: Minting) -> None:
        async def main() -> None:
            async with server:
                await test(server, tool)

        in_time(main())

    return run


async def bundle_of(server: ServerDaemon, tool: tuple[str | Path, ...]) -> Bundle:
    """The server's own bundle, read from the document that the command line shows."""
    shown = await say(*tool, "bundle", "show", "-format", "spiffe", "-socketPath", server.socket)
    found = read_bundle(DOMAIN, shown.out.encode())
    assert not found.skipped
    assert not found.broken
    assert found.bundle.x509_authorities
    assert found.bundle.jwt_authorities
    return found.bundle


def test_both_command_lines_mint_x509_svids_at_either_server(
    minting: Callable[[Minting], None], tmp_path: Path
) -> None:
    async def main(server: ServerDaemon, tool: tuple[str | Path, ...]) -> None:
        where = ("-socketPath", server.socket, "-write", tmp_path)
        done = await say(*tool, "x509", "mint", *where, "-spiffeID", WEB, "-dns", "web.example.org")
        assert done.code == 0, done.error
        svid = X509SVID.from_pem((tmp_path / "svid.pem").read_bytes(), (tmp_path / "key.pem").read_bytes())
        bundles, now = BundleSet([await bundle_of(server, tool)]), SystemClock().now()
        assert verify_x509(svid.chain_der(), bundles, now=now).id.text == WEB
        assert svid.leaf.names.dns == ("web.example.org",)
        assert set(read_certificates((tmp_path / "bundle.pem").read_bytes())) == {
            each.der for each in bundles[DOMAIN].x509_authorities
        }

    minting(main)


def test_both_command_lines_mint_jwt_svids_at_either_server(minting: Callable[[Minting], None]) -> None:
    async def main(server: ServerDaemon, tool: tuple[str | Path, ...]) -> None:
        asked = ("-spiffeID", WEB, "-audience", "reports", "-audience", "bills", "-ttl", "60s")
        where = ("-socketPath", server.socket, "-output", "json")
        made = (await say(*tool, "jwt", "mint", *where, *asked)).value
        bundles, now = BundleSet([await bundle_of(server, tool)]), SystemClock().now()
        proven = validate_jwt(made["svid"]["token"], bundles, ["bills"], now=now)
        assert proven.id.text == WEB
        assert set(proven.svid.audience) == {"reports", "bills"}
        assert proven.svid.issued_at is not None
        assert 59 <= (proven.svid.expires_at - proven.svid.issued_at).total_seconds() <= 70
        plain = await say(*tool, "jwt", "mint", "-socketPath", server.socket, *asked)
        assert validate_jwt(plain.out.strip(), bundles, ["reports"], now=SystemClock().now()).id.text == WEB

    minting(main)


def test_both_command_lines_mint_wit_svids_at_either_server(minting: Callable[[Minting], None]) -> None:
    async def main(server: ServerDaemon, tool: tuple[str | Path, ...]) -> None:
        where = ("-socketPath", server.socket, "-output", "json")
        made = (await say(*tool, "wit", "mint", *where, "-spiffeID", WEB)).value
        svid = WITSVID.parse(made["svid"]["token"])
        assert svid.id.text == WEB
        key = jwk.read_private(json.loads(made["private_key"]))
        scope, now = ProofScope("https://reports.example.org/"), SystemClock().now()
        proof = make_proof(svid, scope, key=key, now=now, jti="x")
        # SPIRE's command line leaves keys for WIT-SVIDs out, whosever server it asks.
        bundles = BundleSet([await bundle_of(server, (*FINIAL, "server"))])
        assert validate_wit(svid.token, proof, bundles, scope=scope, now=now).id.text == WEB

    minting(main)
