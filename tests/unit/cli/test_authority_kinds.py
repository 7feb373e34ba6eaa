"""Commands about the keys of tokens: the same words as about roots, and `--kind`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from finial.cli.server import authority_rotate
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTRequest
from finial.core.witsvid import WITRequest
from support import forge
from support.admin import Finial, Outcome
from support.authority_world import AuthorityServer, AuthorityWorld, authority_server
from support.clock import ManualClock
from support.server_store import DOMAIN

Run = Callable[..., Outcome]

WEB = SpiffeID(f"spiffe://{DOMAIN}/web")

each_kind = pytest.mark.parametrize("kind", ["JWT", "WIT"])


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuthorityServer]:
    monkeypatch.setattr(authority_rotate, "_LOOK_EVERY", timedelta(milliseconds=10))
    with authority_server(tmp_path / "db") as server:
        # Commands look at the time that the server has.
        monkeypatch.setattr(authority_rotate, "SystemClock", lambda: server.world.clock)
        yield server


class _SlowClock(ManualClock):
    """Says what time it was at first until somebody has slept, however long commands before that took."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock.now())
        self._clock = clock
        self._slept = False

    def now(self) -> datetime:
        return self._clock.now() if self._slept else super().now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        self._slept = True
        await self._clock.sleep(duration)


@pytest.fixture
def run(authority: AuthorityServer, finial: Finial) -> Run:
    """Runs a command at the server."""

    def at_server(*words: object) -> Outcome:
        return finial("server", "authority", *words, "--socket", authority.socket)

    return at_server


def _active(server: AuthorityServer, kind: str) -> str:
    return server.do(lambda world: world.active(kind))


def _keys(server: AuthorityServer, kind: str) -> list[str]:
    return server.do(lambda world: world.keys(kind))


def _sign(server: AuthorityServer, kind: str, ttl: timedelta) -> None:
    def work(world: AuthorityWorld) -> None:
        if kind == "JWT":
            world.jwt.sign_jwt(JWTRequest(spiffe_id=WEB, audience=("db",)), ttl)
        else:
            world.wit.sign_wit(WITRequest(spiffe_id=WEB, public_key=forge.key().public_key()), ttl)

    server.do(work)


@each_kind
def test_every_step_by_hand(run: Run, authority: AuthorityServer, kind: str) -> None:
    option = ("--kind", kind.lower())
    first, roots = _active(authority, kind), _active(authority, "X509")
    made = run("prepare", *option)
    assert f"next: finial server authority activate --kind {kind.lower()} " in made.err
    second = _keys(authority, kind)[1]
    assert made.out.startswith(f"Prepared authority {second}: it is published, and valid until 20")
    activated = run("activate", *option)
    assert activated.out == f"Activated authority {second}: it signs from now on\n"
    assert f"next: finial server authority taint --kind {kind.lower()} " in activated.err
    tainted = run("taint", *option)
    assert tainted.out == f"Tainted authority {first}: what rests on it is renewed now\n"
    assert f"next: finial server authority revoke --kind {kind.lower()} " in tainted.err
    assert run("revoke", *option).out == f"Revoked authority {first}: nobody is to trust it any more\n"
    assert (_active(authority, kind), _keys(authority, kind)) == (second, [second])
    assert _active(authority, "X509") == roots


def test_all_kinds_are_shown_and_each_by_itself(run: Run, authority: AuthorityServer) -> None:
    run("prepare", "--kind", "jwt")
    lines = [line.split() for line in run("show").out.splitlines()]
    assert [line[0] for line in lines] == ["KIND", "x509", "jwt", "jwt", "wit"]
    active = _active(authority, "JWT")
    assert lines[2][1:3] == [active[:8], "active"]
    # Tokens are not counted: nobody knows where they are.
    assert lines[2][6:] == ["no", "-", "no", "agents", active]
    assert lines[1][7] == "0"
    found = json.loads(run("show", "--output", "json").out)
    assert list(found) == ["jwt", "wit", "x509"]
    assert found["jwt"]["active"]["authority_id"] == active
    alone = json.loads(run("show", "--kind", "jwt", "--output", "json").out)
    assert [each["status"] for each in alone["authorities"]] == ["active", "prepared"]
    assert alone["authorities"][1]["rollout"]["last_end"] == "0"


def test_a_kind_that_is_not_signed_is_left_out_and_told_of(tmp_path: Path, finial: Finial) -> None:
    with authority_server(tmp_path / "db", without=("JWT", "WIT")) as server:
        where = ("--socket", server.socket)
        lines = finial("server", "authority", "show", *where).out.splitlines()
        assert [line.split()[0] for line in lines] == ["KIND", "x509"]
        for command in ("show", "prepare", "rotate"):
            found = finial("server", "authority", command, "--kind", "jwt", *where)
            assert (found.code, found.out) == (1, "")
            assert found.err == (
                "finial: error: JWT functionality is disabled. "
                "See disable_jwt_svids and incubating.wit_svid among the settings of the server.\n"
            )


@each_kind
def test_a_rotation_waits_until_the_last_token_has_ended(
    run: Run, authority: AuthorityServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = _SlowClock(authority.world.clock)
    monkeypatch.setattr(authority_rotate, "SystemClock", lambda: slow)
    first = _active(authority, kind)
    _sign(authority, kind, timedelta(seconds=15))
    found = run("rotate", "--kind", kind.lower())
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    second = _active(authority, kind)
    assert lines[0] == f"Prepared authority {second[:8]}"
    assert lines[-2].startswith(f"{kind}-SVIDs that the old authority has signed may be valid until 20")
    assert lines[-1] == f"Revoked authority {first[:8]}: nobody is to trust it any more"
    assert _keys(authority, kind) == [second]


def test_a_rotation_that_would_wait_in_vain_says_so_at_once_and_goes_on_when_it_is_run_again(
    run: Run, authority: AuthorityServer
) -> None:
    first = _active(authority, "JWT")
    _sign(authority, "JWT", timedelta(hours=1))
    found = run("rotate", "--kind", "jwt")
    assert found.code == 1
    assert "JWT-SVIDs that the old authority has signed may be valid until 20" in found.err
    assert "; it is tainted, and not revoked. Run the command again after that, " in found.err
    second = _active(authority, "JWT")
    assert second != first
    refused = run("revoke", "--kind", "jwt")
    assert refused.code == 1
    insist = "`finial server authority revoke --kind jwt --force` does not wait for them"
    assert f"{insist}. Try again when the last of them has ended." in refused.err
    found = run("rotate", "--kind", "jwt", "--force")
    assert found.out.splitlines() == [
        f"Going on: authority {second[:8]} signs already",
        f"Revoked authority {first[:8]}: nobody is to trust it any more",
    ]
    assert _keys(authority, "JWT") == [second]


def test_a_rotation_that_revokes_nothing_waits_for_no_token(run: Run, authority: AuthorityServer) -> None:
    first = _active(authority, "JWT")
    _sign(authority, "JWT", timedelta(hours=1))
    found = run("rotate", "--kind", "jwt", "--no-revoke")
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[-1] == (
        "Nothing is revoked; do it with: finial server authority revoke --kind jwt"
    )
    assert _keys(authority, "JWT") == [first, _active(authority, "JWT")]
