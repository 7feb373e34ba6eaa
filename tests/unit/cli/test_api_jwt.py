from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from finial.core.jwtsvid import JWTSVID
from finial.rpc import RpcError, StatusCode
from finial.wire.gen import google_protobuf as well_known
from finial.wire.gen import workload as pb
from support import forge, tokens
from support.admin import Finial, served
from support.fake_workload import FakeWorkloadAPI, Feed, jwt_keys, jwts, key_set, one_jwt

OTHER = "spiffe://a.test/other"
TOKEN = tokens.jwt()
K1 = tokens.authority("k1")[0]


class Agent:
    """An agent that answers well, unless a test bends it."""

    def __init__(self) -> None:
        claims = well_known.Struct()
        claims.update({"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": tokens.SECONDS, "of": {"x": [1]}})
        self.api = FakeWorkloadAPI(
            jwt=jwts(one_jwt(TOKEN), one_jwt(uri=OTHER, hint="ex\tternal")),
            validated=pb.ValidateJWTSVIDResponse(spiffe_id=forge.WEB, claims=claims),
            jwt_bundles=Feed([jwt_keys(b=key_set(), a=key_set(K1))]),
        )
        self.socket = Path()


@pytest.fixture
def agent() -> Iterator[Agent]:
    fake = Agent()
    with ExitStack() as stack:
        fake.socket = stack.enter_context(served(list(fake.api.routes())))
        yield fake


def test_tokens_and_keys_are_shown_in_the_form_of_spire(agent: Agent, finial: Finial) -> None:
    found = finial("agent", "api", "fetch", "jwt", "--socket", agent.socket, "--audience", tokens.AUDIENCE)
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert lines[0::2] == [
        f"token({forge.WEB}):",
        f"token({OTHER}):",
        f"hint({OTHER}):",
        "bundle(spiffe://a.test):",
        "bundle(spiffe://b.test):",
    ]
    assert all(line.startswith("\t") for line in lines[1::2])
    assert lines[1].strip() == TOKEN
    assert JWTSVID.parse(lines[3].strip()).id.text == OTHER
    assert lines[5] == "\tex\\tternal"
    assert json.loads(lines[7])["keys"][0]["kid"] == "k1"
    assert json.loads(lines[9]) == {"keys": []}


def test_json_is_one_line_with_both_answers(agent: Agent, finial: Finial) -> None:
    base = ("agent", "api", "fetch", "jwt", "-socketPath", agent.socket)
    found = finial(*base, "-audience", tokens.AUDIENCE, "-output", "json")
    assert found.out.count("\n") == 1
    svids, bundles = json.loads(found.out)
    assert svids["svids"][0] == {"spiffe_id": forge.WEB, "svid": TOKEN, "hint": ""}
    assert list(bundles["bundles"]) == ["spiffe://a.test", "spiffe://b.test"]


def test_audiences_and_the_wanted_identity_are_asked_for(agent: Agent, finial: Finial) -> None:
    agent.api.jwt = jwts(one_jwt(tokens.jwt(sub=OTHER, aud=["a", "b", "c"]), OTHER))
    base = ("agent", "api", "fetch", "jwt", "--socket", agent.socket)
    assert finial(*base, "-audience", "a,b", "-audience=c", "-spiffeID", OTHER).code == 0
    assert agent.api.asked[0] == pb.JWTSVIDRequest(audience=["a", "b", "c"], spiffe_id=OTHER)


def test_what_cannot_be_asked_is_told(agent: Agent, finial: Finial) -> None:
    base = ("agent", "api", "fetch", "jwt", "--socket", agent.socket)
    assert "--audience" in finial(*base).err
    assert "without an audience, or with an empty one" in finial(*base, "--audience", "a,").err
    assert "--spiffe-id: " in finial(*base, "--audience", "a", "--spiffe-id", "x").err
    assert "--timeout: 'x' is not a duration" in finial(*base, "--audience", "a", "--timeout", "x").err
    assert agent.api.calls == 0
    agent.api.jwt = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")
    found = finial(*base, "--audience", "a")
    assert (found.code, found.out, found.err.count("\n")) == (1, "", 1)
    assert "no identity issued. Create an entry" in found.err


def test_a_token_is_validated(agent: Agent, finial: Finial) -> None:
    base = ("agent", "api", "validate", "jwt", "-socketPath", agent.socket, "-audience", tokens.AUDIENCE)
    found = finial(*base, "-svid", TOKEN)
    claims = f'{{"aud":["reports"],"exp":{tokens.SECONDS},"of":{{"x":[1]}},"sub":"{forge.WEB}"}}'
    assert (found.code, found.err) == (0, "")
    assert found.out == f"SVID is valid.\nSPIFFE ID : {forge.WEB}\nClaims    : {claims}\n"
    as_json = finial(*base, "-svid", TOKEN, "-output", "json")
    assert as_json.out == f'{{"claims":{claims},"spiffe_id":"{forge.WEB}"}}\n'
    assert agent.api.asked[0] == pb.ValidateJWTSVIDRequest(audience=tokens.AUDIENCE, svid=TOKEN)


@pytest.mark.parametrize("words", [("--svid", "-"), ("--svid-file", "-"), ("--svid-file", "FILE")])
def test_a_token_need_not_stand_in_the_arguments(
    agent: Agent, finial: Finial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f" {TOKEN}\n".encode())))
    given = [str(file) if word == "FILE" else word for word in words]
    base = ("agent", "api", "validate", "jwt", "--socket", agent.socket, "--audience", tokens.AUDIENCE)
    assert finial(*base, *given).code == 0
    assert agent.api.asked == [pb.ValidateJWTSVIDRequest(audience=tokens.AUDIENCE, svid=TOKEN)]
    told = finial("agent", "api", "validate", "jwt", "--help").out
    assert "can read the arguments" in " ".join(told.split())


def test_exactly_one_token_is_given(agent: Agent, finial: Finial, tmp_path: Path) -> None:
    base = ("agent", "api", "validate", "jwt", "--socket", agent.socket, "--audience", "a")
    for words in ((), ("--svid", TOKEN, "--svid-file", "-")):
        found = finial(*base, *words)
        assert found.code == 1
        assert "--svid: give the token, or -" in found.err
        assert TOKEN not in found.err
    file = tmp_path / "token"
    for content in (b" \n", b"\xff\xfe"):
        file.write_bytes(content)
        assert "--svid-file: there is no token in it" in finial(*base, "--svid-file", file).err
    assert finial(*base, "--svid-file", tmp_path / "absent").code == 1
    assert agent.api.calls == 0


def test_a_token_that_proves_nothing_is_told_and_not_repeated(agent: Agent, finial: Finial) -> None:
    agent.api.validated = RpcError(StatusCode.INVALID_ARGUMENT, "token has expired")
    base = ("agent", "api", "validate", "jwt", "--socket", agent.socket, "--audience", tokens.AUDIENCE)
    found = finial(*base, "--svid", TOKEN)
    assert (found.code, found.out, found.err.count("\n")) == (1, "", 1)
    assert "finds the token not valid: token has expired. " in found.err
    assert TOKEN not in found.err
