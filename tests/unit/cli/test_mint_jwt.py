from __future__ import annotations

import json
from pathlib import Path

import pytest

from finial.rpc import RpcError, StatusCode
from finial.wire.gen import spire_api_server_svid_v1 as pb
from finial.wire.gen import spire_api_types as types
from support import tokens
from support.admin import FakeServer, Finial
from support.tokens import SECONDS

ID = "spiffe://a.test/web"
TOKEN = tokens.jwt()
BASE = ("server", "jwt", "mint", "--spiffe-id", ID)


@pytest.fixture
def minting(server: FakeServer) -> FakeServer:
    svid = types.JWTSVID(
        token=TOKEN,
        id=types.SPIFFEID(trust_domain="a.test", path="/web"),
        issued_at=SECONDS,
        expires_at=SECONDS + 300,
    )
    server.answers["MintJWTSVID"] = lambda _request: pb.MintJWTSVIDResponse(svid=svid)
    return server


def test_the_token_is_printed_and_nothing_else(minting: FakeServer, finial: Finial) -> None:
    found = finial(*BASE, "--socket", minting.socket, "--audience", "reports")
    assert (found.code, found.out, found.err) == (0, f"{TOKEN}\n", "")


def test_the_request_says_what_was_asked_for_in_either_spelling(minting: FakeServer, finial: Finial) -> None:
    finial(*BASE, "--socket", minting.socket, "--audience", "a", "--audience", "b", "--ttl", "2m")
    spires = ("-spiffeID", ID, "-audience", "a", "-audience=b", "-ttl", "120s", "-output", "json")
    finial("server", "jwt", "mint", "-socketPath", minting.socket, *spires)
    request = pb.MintJWTSVIDRequest(
        id=types.SPIFFEID(trust_domain="a.test", path="/web"), audience=["a", "b"], ttl=120
    )
    assert minting.asked == [("MintJWTSVID", request)] * 2


def test_as_json_it_is_the_reply(minting: FakeServer, finial: Finial) -> None:
    found = finial(*BASE, "--socket", minting.socket, "--audience", "reports", "--output", "json")
    assert json.loads(found.out) == {
        "svid": {
            "token": TOKEN,
            "id": {"trust_domain": "a.test", "path": "/web"},
            "expires_at": str(SECONDS + 300),
            "issued_at": str(SECONDS),
            "hint": "",
        }
    }


def test_a_file_for_the_token_is_private_and_the_token_is_not_shown(
    minting: FakeServer, finial: Finial, tmp_path: Path
) -> None:
    path = tmp_path / "token.jwt"
    path.write_text("what was there before")
    path.chmod(0o644)
    found = finial(*BASE, "--socket", minting.socket, "--audience", "reports", "-write", path)
    assert (found.code, found.out) == (0, "")
    assert found.err.startswith(f"finial: wrote the JWT-SVID to {path}; it ends at ")
    assert TOKEN not in found.err
    assert path.read_text() == TOKEN
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["token.jwt"]


def test_a_life_that_the_server_has_cut_short_is_told_of(minting: FakeServer, finial: Finial) -> None:
    found = finial(*BASE, "--socket", minting.socket, "--audience", "reports", "--ttl", "1h")
    assert found.out == f"{TOKEN}\n"
    assert found.err.startswith("finial: the server lets it live for 5m only, not for 1h: it ends at")
    same = finial(*BASE, "--socket", minting.socket, "--audience", "reports", "--ttl", "5m")
    assert same.err == ""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--spiffe-id", "x", "--audience", "a"], "--spiffe-id: 'x' does not begin"),
        (["--spiffe-id", ID, "--audience", "a", "--ttl", "x"], "--ttl: 'x' is not a duration"),
        (
            ["--spiffe-id", ID, "--audience", "a", "--audience", ""],
            "--audience: an audience is empty: name the",
        ),
    ],
)
def test_bad_values_are_refused(words: list[str], complaint: str, finial: Finial) -> None:
    found = finial("server", "jwt", "mint", *words)
    assert found.code == 1
    assert complaint in found.err


@pytest.mark.parametrize("words", [["--audience", "a"], ["--spiffe-id", ID]])
def test_what_is_missing_is_named(words: list[str], finial: Finial) -> None:
    found = finial("server", "jwt", "mint", *words)
    assert found.code == 2
    assert "Missing option '--" in found.err
    assert "See: finial server jwt mint --help" in found.err


def test_a_server_that_signs_none_is_reported_with_the_next_step(server: FakeServer, finial: Finial) -> None:
    server.answers["MintJWTSVID"] = RpcError(StatusCode.UNIMPLEMENTED, "JWT functionality is disabled")
    found = finial(*BASE, "--socket", server.socket, "--audience", "a")
    assert found.code == 1
    assert found.err == (
        "finial: error: JWT functionality is disabled. Start the server without disable_jwt_svids.\n"
    )


def test_a_refusal_is_passed_on_and_leaves_nothing_behind(
    server: FakeServer, finial: Finial, tmp_path: Path
) -> None:
    server.answers["MintJWTSVID"] = RpcError(StatusCode.INVALID_ARGUMENT, "path is empty")
    found = finial(*BASE, "--socket", server.socket, "--audience", "a", "--write", tmp_path / "t")
    assert (found.code, found.err) == (1, "finial: error: path is empty\n")
    assert list(tmp_path.iterdir()) == []
    absent = finial(*BASE, "--socket", tmp_path / "absent", "--audience", "a", "--write", tmp_path / "t")
    assert absent.code == 1
    assert "Start it with `finial server run`" in absent.err


def test_what_is_no_token_is_neither_printed_nor_written(
    server: FakeServer, finial: Finial, tmp_path: Path
) -> None:
    bad = types.JWTSVID(token="not\x1b[2J.a.token")
    server.answers["MintJWTSVID"] = lambda _request: pb.MintJWTSVIDResponse(svid=bad)
    found = finial(*BASE, "--socket", server.socket, "--audience", "a", "--write", tmp_path / "t")
    assert found.code == 1
    assert found.out == ""
    assert list(tmp_path.iterdir()) == []
