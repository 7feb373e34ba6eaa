"""Tokens from the Workload API: every library at our agent and at SPIRE's, each under either server.

That it holds with SPIRE's own parts keeps the rest honest.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID, validate_jwt
from finial.core.keys import read_private_key
from finial.core.witsvid import WITSVID, validate_wit
from finial.core.wpt import ProofScope, make_proof
from finial.rpc import StatusCode
from finial.runtime.clock import SystemClock
from interop.peers import require
from support.finial_process import FINIAL
from support.interop_process import Answer
from support.judge import GO, Judge, Judging
from support.operator_script import run_command
from support.order_script import Desk
from support.token_domain import HINT, INCUBATING, PATHS, Site, TokenDomain, key_sets, running

SERVERS = AGENTS = ("spire", "finial")
_SECONDS = 60.0

Test = Callable[[TokenDomain, Judge], Awaitable[None]]
Run = Callable[[Test], None]


@pytest.fixture
def domain(request: pytest.FixtureRequest, judging: Judging, sockets: Path) -> Run:
    """Runs a test with a trust domain of `server` and `agent`, and a library."""
    server, agent, *options = request.param
    site = Site(
        require("spire_server") if server == "spire" else None,
        require("spire_agent") if agent == "spire" else None,
        tuple(options),
    )

    def run(test: Test) -> None:
        async def main(judge: Judge) -> None:
            async with asyncio.timeout(_SECONDS), running(site, sockets) as found:
                await test(found, judge)

        judging(main)

    return run


def check_token(svid: Answer, domain: TokenDomain, judge: Judge, *audience: str) -> JWTSVID:
    """One SVID of an answer: its own parts say what the library says of it."""
    parsed = JWTSVID.parse(svid["token"])
    assert parsed.id.text == svid["spiffe_id"] in domain.ids
    assert set(parsed.audience) == set(svid["audience"]) == set(audience)
    assert int(parsed.expires_at.timestamp()) == svid["expires_at"]
    if judge.library.tells_hints:
        assert svid["hint"] == (HINT if parsed.id.path == PATHS[0] else "")
    return parsed


async def tokens(domain: TokenDomain, judge: Judge) -> None:
    """A library gets tokens for each identity, and for one, and they stand before everybody."""
    assert {each["id"] for each in (await domain.order(judge, "fetch"))["svids"]} == domain.ids
    answer = await domain.order(judge, "tokens", audience=["reports"])
    assert {each["spiffe_id"] for each in answer["svids"]} == domain.ids
    bundles = await domain.token_bundles(judge)
    assert set(bundles) == {domain.trust_domain}
    for each in answer["svids"]:
        svid = check_token(each, domain, judge, "reports")
        assert validate_jwt(svid.token, bundles, ["reports"], now=SystemClock().now()).id == svid.id
        await judge.accept("jwt", token=svid.token, audience=["reports"], keys=key_sets(bundles))
        told = await domain.order(judge, "validate", audience=["reports"], token=svid.token)
        assert told["spiffe_id"] == svid.id.text
        await refusals(domain, judge, svid.token)
    two = domain.id(PATHS[1])
    [each] = (await domain.order(judge, "tokens", audience=["a", "b"], spiffe_id=two))["svids"]
    assert check_token(each, domain, judge, "a", "b").id == SpiffeID(two)
    code = await domain.fails(judge, "tokens", audience=["a"], spiffe_id=domain.id("/other"))
    assert code == StatusCode.PERMISSION_DENIED


async def refusals(domain: TokenDomain, judge: Judge, token: str) -> None:
    """The agent refuses a token for somebody else, and one that was changed."""
    swapped = "B" if token[-10] == "A" else "A"
    for audience, changed in (("bills", token), ("reports", f"{token[:-10]}{swapped}{token[-9:]}")):
        code = await domain.fails(judge, "validate", audience=[audience], token=changed)
        assert code == StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "domain", [(server, agent) for server in SERVERS for agent in AGENTS], ids="-".join, indirect=True
)
def test_a_library_gets_tokens_and_has_them_validated(domain: Run) -> None:
    domain(tokens)


@pytest.mark.parametrize("library", [GO], ids=["go-spiffe"], indirect=True)
@pytest.mark.parametrize("domain", [("finial", "spire", INCUBATING)], ids=["incubating"], indirect=True)
def test_spires_agent_takes_no_harm_from_a_server_that_has_opted_in(domain: Run) -> None:
    domain(tokens)


@pytest.mark.parametrize("library", [GO], ids=["go-spiffe"], indirect=True)
@pytest.mark.parametrize(
    "domain", [("finial", "spire"), ("finial", "finial"), ("spire", "finial")], ids="-".join, indirect=True
)
def test_a_forced_rotation_of_the_key_reaches_workloads(domain: Run) -> None:
    async def main(domain: TokenDomain, judge: Judge) -> None:
        desk = Desk([*FINIAL, "server"], ("authority",), domain.server, "json", kind="jwt")
        before = await token_of(domain, judge)
        first = (await desk.state())["active"]
        assert JWTSVID.parse(before).key_id == first
        assert (await desk.give("prepare")).code == 0
        second = (await desk.state())["prepared"]
        while second not in await keys_of_domain(domain, judge):
            pass  # workloads get the key before anything is signed with it
        assert (await desk.give("activate", second)).code == 0
        assert (await desk.give("taint", first)).code == 0
        while JWTSVID.parse(await token_of(domain, judge)).key_id == first:
            pass  # the agent throws away what it has kept
        told = await domain.order(judge, "validate", audience=["reports"], token=before)
        assert told["spiffe_id"] == JWTSVID.parse(before).id.text
        # Tokens that live are a reason to wait, unless somebody who has to be quick says otherwise.
        words = ("authority", "revoke", "-kind", "jwt", "-force", "-authorityID", first)
        done = await run_command([*FINIAL, "server"], words, domain.server.socket, "json")
        assert done.code == 0, done.error
        while first in await keys_of_domain(domain, judge):
            pass
        code = await domain.fails(judge, "validate", audience=["reports"], token=before)
        assert code == StatusCode.INVALID_ARGUMENT

    domain(main)


async def token_of(domain: TokenDomain, judge: Judge) -> str:
    """A token for `reports`, as the agent has it at the moment."""
    one = domain.id(PATHS[0])
    [svid] = (await domain.order(judge, "tokens", audience=["reports"], spiffe_id=one))["svids"]
    return str(svid["token"])


async def keys_of_domain(domain: TokenDomain, judge: Judge) -> set[str]:
    """The ids of the keys that workloads validate JWT-SVIDs with at the moment."""
    bundles = await domain.token_bundles(judge)
    return {each.key_id for each in bundles[domain.trust_domain].jwt_authorities}


@pytest.mark.parametrize("library", [GO], ids=["go-spiffe"], indirect=True)
@pytest.mark.parametrize("domain", [("finial", "finial", INCUBATING)], ids=["finial"], indirect=True)
def test_go_spiffe_gets_wit_svids_from_our_agent(domain: Run) -> None:
    async def main(domain: TokenDomain, judge: Judge) -> None:
        answer = await domain.order(judge, "wits")
        assert {each["spiffe_id"] for each in answer["svids"]} == domain.ids
        bundles = await domain.wit_bundles(judge)
        scope, now = ProofScope("https://reports.example.org/"), SystemClock().now()
        for each in answer["svids"]:
            assert each["paired"], "the key that came is not that of the token"
            assert each["hint"] == (HINT if each["spiffe_id"] == domain.id(PATHS[0]) else "")
            await judge.accept("wit", token=each["token"], keys=key_sets(bundles, wit=True))
            svid = WITSVID.parse(each["token"])
            key = read_private_key(base64.b64decode(each["private_key"]))
            proof = make_proof(svid, scope, key=key, now=now, jti="x")
            assert validate_wit(svid.token, proof, bundles, scope=scope, now=now).id == svid.id
        [one] = (await domain.order(judge, "wits", spiffe_id=domain.id(PATHS[1])))["svids"]
        assert one["spiffe_id"] == domain.id(PATHS[1])
        # Keys of one kind are in no bundle of the other.
        jwt = await domain.token_bundles(judge)
        assert {each.key_id for each in jwt[domain.trust_domain].jwt_authorities}.isdisjoint(
            each.key_id for each in bundles[domain.trust_domain].wit_authorities
        )

    domain(main)


@pytest.mark.parametrize("library", [GO], ids=["go-spiffe"], indirect=True)
@pytest.mark.parametrize(
    "domain", [("spire", "spire"), ("finial", "finial"), ("finial", "spire")], ids="-".join, indirect=True
)
def test_without_the_opt_in_wit_svids_are_not_implemented(domain: Run) -> None:
    async def main(domain: TokenDomain, judge: Judge) -> None:
        for op in ("wits", "wit_keys"):
            assert await domain.fails(judge, op) == StatusCode.UNIMPLEMENTED

    domain(main)
