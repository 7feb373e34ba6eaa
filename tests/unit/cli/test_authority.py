"""Commands about authorities at a server's authority, with agents that a test plays."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from finial.cli.server import authority_calls, authority_rotate
from finial.core.bundle import Bundle
from finial.core.keys import KeyType
from finial.core.x509_profile import CARequest, Order, issue_root
from finial.rpc import RpcError, StatusCode
from finial.server.ca import orders
from finial.server.ca.kinds import authority_id_of
from finial.wire.bundles import bundle_message
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from support.admin import FakeServer, Finial, Outcome
from support.authority_world import AuthorityServer, AuthorityWorld, authority_server
from support.clock import START
from support.fake_keys import new_key
from support.server_store import DOMAIN

Run = Callable[..., Outcome]

ID = re.compile(r"\b[0-9a-f]{40}\b")
SHORT = re.compile(r"\b[0-9a-f]{8}\b")
INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthorityServer]:
    monkeypatch.setattr(authority_rotate, "_LOOK_EVERY", timedelta(milliseconds=10))
    with authority_server(tmp_path / "db") as server:
        yield server


@pytest.fixture
def run(authority: AuthorityServer, finial: Finial) -> Run:
    """Runs a command at the server."""

    def at_server(*words: object) -> Outcome:
        return finial("server", "authority", *words, "--socket", authority.socket)

    return at_server


def _masked(text: str) -> str:
    return INSTANT.sub("INSTANT", SHORT.sub("SHORT", ID.sub("FULL", text)))


def _signer(world: AuthorityWorld) -> str:
    return authority_id_of(world.signer)


def _published(world: AuthorityWorld) -> list[str]:
    return world.published


def _follow(server: AuthorityServer, *agent_ids: str) -> None:
    """Play agents that take over every bundle and renew what is tainted."""

    def follow(world: AuthorityWorld) -> None:
        for agent_id in agent_ids:
            world.fleet.has_bundle(agent_id, world.sequence)
            world.fleet.resting(agent_id, {_signer(world): 2})

    server.do(lambda world: world.stored.index.subscribe(lambda _: follow(world)))


def test_every_step_by_hand(run: Run, authority: AuthorityServer) -> None:
    first = authority.do(_signer)
    made = run("prepare")
    assert _masked(made.out) == "Prepared authority FULL: it is published, and valid until INSTANT\n"
    assert made.err.startswith("finial: next: finial server authority activate ")
    shown = run("show", "--kind", "x509")
    assert _masked(shown.out) == (
        "KIND  AUTHORITY  STATUS    VALID UNTIL              TAINTED  SVIDS  AGENTS THAT TRUST IT  FULL ID\n"
        "x509  SHORT   active    INSTANT  no       0      no agents             FULL\n"
        "x509  SHORT   prepared  INSTANT  no       0      no agents             FULL\n"
    )
    assert shown.err == ""
    assert _masked(run("activate").out) == "Activated authority FULL: it signs from now on\n"
    second = authority.do(_signer)
    assert first != second
    assert _masked(run("taint").out) == "Tainted authority FULL: what rests on it is renewed now\n"
    assert _masked(run("show").out).splitlines()[2].split()[1:5] == ["SHORT", "old", "INSTANT", "yes"]
    revoked = run("revoke")
    assert revoked.out == f"Revoked authority {first}: nobody is to trust it any more\n"
    assert authority.do(_published) == [second]
    last = run("show").out.splitlines()[2].split()
    assert (last[2], last[6:]) == ("revoked", ["-", "-", "-", first])


def test_every_step_in_json_and_in_spires_spelling(run: Run, authority: AuthorityServer) -> None:
    first = authority.do(_signer)
    second = json.loads(run("prepare", "-output", "json").out)["prepared_authority"]["authority_id"]
    found = json.loads(run("activate", "-authorityID", second[:12], "--output", "json").out)
    assert found["activated_authority"]["authority_id"] == second
    found = json.loads(run("taint", "-authorityID", first, "--output", "json").out)
    assert found["tainted_authority"]["authority_id"] == first
    found = json.loads(run("show", "-kind", "x509", "--output", "json").out)
    assert (found["active"]["authority_id"], found["old"]["authority_id"]) == (second, first)
    assert [(each["status"], each["tainted"]) for each in found["authorities"]] == [
        ("active", False),
        ("old", True),
    ]
    assert found["authorities"][1]["rollout"]["live"] == 0
    done = run("revoke", "--output", "json")
    assert json.loads(done.out)["revoked_authority"]["authority_id"] == first
    assert done.err == ""
    assert (
        json.loads(run("show", "-kind", "x509", "--output", "json").out)["authorities"][1]["rollout"] is None
    )


def test_an_activation_waits_for_agents_names_them_and_can_be_forced(
    run: Run, authority: AuthorityServer
) -> None:
    one, *_ = ids = authority.attest("1", "2", "3")
    authority.do(lambda world: world.connect(*ids[:2]))
    run("prepare")
    authority.do(lambda world: world.fleet.has_bundle(one, world.sequence))
    found = run("activate")
    assert (found.code, found.out) == (1, "")
    waiting, refused = found.err.splitlines()
    assert waiting == ("finial: waiting: agents that have the new authority: 1 of 3 (behind: test/2, test/3)")
    assert refused.startswith("finial: error: 2 of 3 agents do not have this authority yet: spiffe://")
    assert refused.endswith("Evict agents that will not come back, and try again when the others have it.")
    assert run("activate", "--force").code == 0
    run("taint")
    found = run("revoke")
    assert found.code == 1
    assert "3 agents may have SVIDs that rest on this authority, 2 as far as is known" in found.err
    found = run("revoke", "--force")
    assert found.code == 0
    assert found.err == (
        "finial: nobody is waited for; SVIDs that still rest on the old authority: 2 (not known of: test/3)\n"
    )
    assert "1 agent polls: its SVIDs are not counted" in run("show").err


@pytest.mark.parametrize(
    ("words", "complaint", "hint"),
    [
        (("activate",), "there is no prepared authority", "finial server authority prepare"),
        (("taint",), "there is no old authority", "prepare and activate that first"),
        (("revoke",), "there is no tainted authority", "finial server authority taint"),
        (("taint", "--authority-id", "zz"), "there is no authority 'zz'", "`finial server authority show`"),
        (("rotate", "--timeout", "soon"), "--timeout", ""),
    ],
)
def test_what_cannot_be_done_says_what_can(
    run: Run, words: tuple[str, ...], complaint: str, hint: str
) -> None:
    found = run(*words)
    assert (found.code, found.out) == (1, "")
    assert complaint in found.err
    assert hint in found.err
    assert len(found.err.splitlines()) == 1


def test_refusals_of_the_server_come_with_the_next_step(run: Run, authority: AuthorityServer) -> None:
    found = run("taint", "--authority-id", authority.do(_signer))
    assert found.err == (
        "finial: error: unable to taint current local authority. "
        "Keep to the order: prepare, activate, taint, revoke.\n"
    )


def test_a_rotation_from_one_end_to_the_other(run: Run, authority: AuthorityServer) -> None:
    first = authority.do(_signer)
    ids = authority.attest("1", "2")
    authority.do(lambda world: world.connect(*ids))
    _follow(authority, *ids)
    found = run("rotate")
    assert (found.code, found.err) == (0, "")
    lines = _masked(found.out).splitlines()
    assert lines[0] == "Prepared authority SHORT"
    assert "agents that have the new authority: 2 of 2" in lines
    assert (
        lines.index("Activated authority SHORT: it signs from now on")
        == lines.index("Tainted authority SHORT: what rests on it is renewed now") - 1
    )
    assert lines[-3:] == [
        "SVIDs that still rest on the old authority: 0",
        "Workloads have some seconds to take what they have been sent",
        "Revoked authority SHORT: nobody is to trust it any more",
    ]
    second = authority.do(_signer)
    assert second != first
    assert authority.do(_published) == [second]


def test_a_rotation_in_json_tells_its_progress_to_people_alone(run: Run, authority: AuthorityServer) -> None:
    first = authority.do(_signer)
    found = run("rotate", "--output", "json")
    second = authority.do(_signer)
    assert json.loads(found.out) == {"activated": second, "tainted": [first], "revoked": [first]}
    assert "finial: there are no agents that would have to know the new authority" in found.err


def test_a_rotation_that_comes_to_no_end_says_why_and_goes_on_when_it_is_run_again(
    run: Run, authority: AuthorityServer
) -> None:
    first = authority.do(_signer)
    ids = authority.attest("1", "2")

    def follow(world: AuthorityWorld) -> None:
        for each in ids:
            world.fleet.has_bundle(each, world.sequence)

    def renew(world: AuthorityWorld) -> None:
        for each in ids:
            world.fleet.resting(each, {_signer(world): 1})

    authority.do(lambda world: world.connect(*ids))
    found = run("rotate", "--timeout", "0s")
    assert found.code == 1
    assert found.err == (
        "finial: error: after 0s, 2 of 2 agents do not have the new authority: test/1, test/2; "
        "it is prepared, and not used yet. "
        "Run the command again to go on, evict agents that will not come back, or use --force.\n"
    )
    assert authority.do(_signer) == first
    authority.do(follow)
    found = run("rotate", "--timeout", "0s")
    assert found.code == 1
    lines = _masked(found.out).splitlines()
    assert lines[0] == "Authority SHORT is prepared already"
    assert lines[-1] == "SVIDs that still rest on the old authority: 2"
    assert "after 0s, 2 agents may have SVIDs that rest on the old authority: test/1, test/2; " in found.err
    second = authority.do(_signer)
    assert second != first
    authority.do(renew)
    found = run("rotate")
    assert found.code == 0
    assert _masked(found.out).splitlines() == [
        "Going on: authority SHORT signs already",
        "SVIDs that still rest on the old authority: 0",
        "Workloads have some seconds to take what they have been sent",
        "Revoked authority SHORT: nobody is to trust it any more",
    ]
    assert authority.do(_published) == [second]


def test_a_rotation_may_leave_the_old_authority_trusted(run: Run, authority: AuthorityServer) -> None:
    first = authority.do(_signer)
    found = run("rotate", "--no-revoke")
    assert found.out.splitlines()[-1] == ("Nothing is revoked; do it with: finial server authority revoke")
    assert authority.do(_published) == [first, authority.do(_signer)]


def test_a_forced_rotation_waits_for_nobody_and_a_new_one_leaves_what_is_prepared(
    run: Run, authority: AuthorityServer
) -> None:
    first = authority.do(_signer)
    ids = authority.attest("1")
    authority.do(lambda world: world.connect(*ids))
    prepared = json.loads(run("prepare", "--output", "json").out)["prepared_authority"]["authority_id"]
    found = run("rotate", "--new", "--force")
    assert found.code == 0
    assert "agents" not in found.out
    second = authority.do(_signer)
    assert second not in {first, prepared}
    assert authority.do(_published) == [prepared, second]


def test_an_old_authority_from_before_goes_with_the_rotation(run: Run, authority: AuthorityServer) -> None:
    run("prepare")
    run("activate")
    found = run("rotate", "--new")
    assert _masked(found.out).splitlines()[:2] == [
        "Tainted authority SHORT: what rests on it is renewed now",
        "Prepared authority SHORT",
    ]
    assert found.out.count("Revoked") == 2
    assert authority.do(_published) == [authority.do(_signer)]


def test_whoever_comes_in_the_middle_is_waited_for(
    run: Run, authority: AuthorityServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = {"activate": orders.LAGGING, "revoke": orders.RESTING}
    for name, reason in refusals.items():
        real = getattr(authority_calls, name)

        async def once(
            session: object, kind: object, authority_id: str, *, force: bool, _real: object = real,
            _name: str = name, _reason: object = reason,
        ) -> object:  # fmt: skip
            if refusals.pop(_name, None) is not None:
                raise orders.OrderError(_reason, "somebody has come")  # type: ignore[arg-type]
            return await _real(session, kind, authority_id, force=force)  # type: ignore[operator]

        monkeypatch.setattr(authority_calls, name, once)
    assert run("rotate").code == 0
    assert not refusals


def test_no_id_of_a_server_can_look_like_a_line_of_ours(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare(session: object, kind: object) -> pb.PrepareX509AuthorityResponse:
        made = pb.AuthorityState(authority_id="1\nRevoked authority 2", expires_at=1)
        return pb.PrepareX509AuthorityResponse(prepared_authority=made)

    monkeypatch.setattr(authority_calls, "prepare", prepare)
    [line] = run("prepare").out.splitlines()
    assert line.startswith(r"Prepared authority 1\nRevoked authority 2: ")


@pytest.mark.parametrize("name", ["activate", "revoke"])
def test_another_refusal_ends_a_rotation(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    async def refuse(session: object, kind: object, authority_id: str, *, force: bool) -> object:
        raise orders.OrderError(orders.STATUS, "no")

    monkeypatch.setattr(authority_calls, name, refuse)
    assert "finial: error: no. Keep to the order" in run("rotate").err


def test_what_is_another_servers_is_left_to_it(
    run: Run, authority: AuthorityServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(session: object, kind: object, authority_id: str, *, force: bool) -> object:
        raise orders.not_ours(authority_id)

    monkeypatch.setattr(authority_calls, "revoke", refuse)
    found = run("rotate")
    assert found.code == 0
    assert "is another server's, and is left to that" in found.err
    assert len(authority.do(_published)) == 2


def test_agents_that_are_away_are_told_of(run: Run, authority: AuthorityServer) -> None:
    authority.attest("1", "2")

    def away(world: AuthorityWorld) -> None:
        world.fleet._started -= 10_000
        for agent in world.fleet._agents.values():
            agent.heard_at = None

    authority.do(away)
    found = run("rotate", "--no-revoke", "--timeout", "0s")
    assert "2 agents are away; one that comes back without the new authority needs the bundle" in found.err
    assert "not known of: test/1, test/2" in found.out


# A server that does not tell what its agents have, as SPIRE's.


@pytest.fixture
def spires(server: FakeServer) -> FakeServer:
    key = new_key(KeyType.EC_P256)
    request = CARequest(trust_domain=DOMAIN, public_key=key.public_key())
    root = issue_root(request, Order(now=START, serial=1, ttl=timedelta(days=1)), key=key)
    bundle = Bundle(trust_domain=DOMAIN, x509_authorities=(root,))
    state = pb.AuthorityState(authority_id=authority_id_of(root), expires_at=60)
    server.answers["GetBundle"] = lambda _: bundle_message(bundle)
    server.answers["GetX509AuthorityState"] = lambda _: pb.GetX509AuthorityStateResponse(active=state)
    server.answers["PrepareX509Authority"] = lambda _: pb.PrepareX509AuthorityResponse(
        prepared_authority=state
    )
    return server


def test_where_nobody_tells_what_agents_have_nothing_is_shown_of_it(
    spires: FakeServer, finial: Finial
) -> None:
    found = finial("server", "authority", "show", "--socket", spires.socket)
    assert found.code == 0
    assert found.out.splitlines()[1].split()[-3:-1] == ["-", "-"]


def test_where_nobody_tells_what_agents_have_a_rotation_has_to_be_forced(
    spires: FakeServer, finial: Finial
) -> None:
    found = finial("server", "authority", "rotate", "--socket", spires.socket)
    assert found.err == (
        "finial: error: this server does not tell what its agents have. "
        "Use --force, and wait yourself: look at the agents before you revoke.\n"
    )


def test_other_failures_are_told_as_everywhere(spires: FakeServer, finial: Finial) -> None:
    spires.answers["GetX509AuthorityState"] = RpcError(StatusCode.PERMISSION_DENIED, "no")
    found = finial("server", "authority", "show", "--socket", spires.socket)
    assert (found.code, found.err) == (1, "finial: error: no\n")


def test_a_server_that_is_not_there(finial: Finial, tmp_path: Path) -> None:
    for command in ("show", "prepare", "activate", "taint", "revoke", "rotate"):
        found = finial("server", "authority", command, "--socket", tmp_path / "none")
        assert found.code == 1
        assert "cannot reach the server" in found.err
