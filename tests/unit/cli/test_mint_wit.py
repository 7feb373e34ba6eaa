from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from finial.core import jwk, pem
from finial.core.keys import public_key_der, read_public_key, write_private_key
from finial.core.witsvid import WITSVID
from finial.rpc import RpcError, StatusCode
from finial.wire.gen import spire_api_server_svid_v1 as pb
from finial.wire.gen import spire_api_types as types
from support import forge, tokens
from support.admin import FakeServer, Finial
from support.tokens import SECONDS

ID = "spiffe://a.test/web"
BASE = ("server", "wit", "mint", "--spiffe-id", ID)
HOLDER = forge.key("wit holder")


def _signed(request: pb.MintWITSVIDRequest) -> pb.MintWITSVIDResponse:
    """A token that is bound to the key of the request, as a server would sign it."""
    key = read_public_key(request.public_key)
    confirmed = {"jwk": {**jwk.write_public(key), "alg": request.signing_algorithm}}
    _, private = tokens.authority("w1")
    token = tokens.signed(
        {"alg": "ES256", "kid": "w1", "typ": "wit+jwt"},
        {"sub": ID, "exp": SECONDS + 3600, "iat": SECONDS, "cnf": confirmed},
        private,
    )
    svid = types.WITSVID(
        token=token,
        id=types.SPIFFEID(trust_domain="a.test", path="/web"),
        issued_at=SECONDS,
        expires_at=SECONDS + 3600,
    )
    return pb.MintWITSVIDResponse(svid=svid)


@pytest.fixture
def minting(server: FakeServer) -> FakeServer:
    server.answers["MintWITSVID"] = _signed
    return server


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    path = tmp_path / "holder.pub.pem"
    path.write_bytes(pem.write("PUBLIC KEY", [public_key_der(HOLDER.public_key())]))
    return path


def _bound(token: str, text: str) -> dict[str, Any]:
    """The members of a printed key, which is the one that the token is bound to."""
    members: dict[str, Any] = json.loads(text)
    key = jwk.read_private(members)
    assert WITSVID.parse(token).key == key.public_key()
    return members


def test_the_token_is_printed_and_below_it_the_key_that_was_made(minting: FakeServer, finial: Finial) -> None:
    found = finial(*BASE, "--socket", minting.socket)
    assert (found.code, found.err) == (0, "")
    token, key = found.out.splitlines()
    members = _bound(token, key)
    assert members.keys() == {"alg", "kty", "crv", "x", "y", "d"}
    assert members["alg"] == "ES256"
    another = finial(*BASE, "--socket", minting.socket)
    assert another.out.splitlines()[1] != key


@pytest.mark.parametrize(
    ("words", "kind", "algorithm"),
    [
        ([], "secp256r1", "ES256"),
        (["-keyType", "ec-p384"], "secp384r1", "ES384"),
        (["--key-type", "rsa-2048"], 2048, "RS256"),
        (["--key-type", "rsa-2048", "-signingAlgorithm", "PS512"], 2048, "PS512"),
        (["--key-type", "rsa-4096"], 4096, "RS256"),
    ],
)
def test_the_kind_of_key_and_how_it_signs_can_be_chosen(
    words: list[str], kind: object, algorithm: str, minting: FakeServer, finial: Finial
) -> None:
    assert finial(*BASE, "--socket", minting.socket, "-ttl", "30m", *words).code == 0
    request = minting.one("MintWITSVID")
    key = load_der_public_key(request.public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    assert (key.curve.name if isinstance(key, ec.EllipticCurvePublicKey) else key.key_size) == kind
    assert (request.signing_algorithm, request.ttl, request.id.path) == (algorithm, 1800, "/web")


def test_for_a_key_that_is_elsewhere_no_key_is_made(
    minting: FakeServer, finial: Finial, public_key: Path
) -> None:
    found = finial(*BASE, "--socket", minting.socket, "--public-key", public_key)
    (token,) = found.out.splitlines()
    assert WITSVID.parse(token).key == HOLDER.public_key()
    told = json.loads(
        finial(*BASE, "--socket", minting.socket, "--public-key", public_key, "--output", "json").out
    )
    assert told.keys() == {"svid"}


def test_the_public_key_can_come_from_standard_input(
    minting: FakeServer, finial: Finial, public_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(public_key.read_bytes())))
    assert finial(*BASE, "--socket", minting.socket, "--public-key", "-").code == 0
    assert minting.one("MintWITSVID").public_key == public_key_der(HOLDER.public_key())


def test_token_and_key_are_written_as_private_files(
    minting: FakeServer, finial: Finial, tmp_path: Path
) -> None:
    folder = tmp_path / "svid"
    found = finial(*BASE, "--socket", minting.socket, "--write", folder)
    assert (found.code, found.out) == (0, "")
    assert found.err.startswith(f"finial: wrote token and key into {folder}; it ends at ")
    _bound((folder / "token").read_text(), (folder / "key").read_text())
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "token": 0o600,
        "key": 0o600,
    }


def test_a_token_for_a_key_that_is_elsewhere_is_written_alone(
    minting: FakeServer, finial: Finial, public_key: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "svid"
    found = finial(*BASE, "--socket", minting.socket, "--public-key", public_key, "--write", folder)
    assert "wrote token into" in found.err
    assert [path.name for path in folder.iterdir()] == ["token"]


def test_as_json_it_has_spires_form(minting: FakeServer, finial: Finial) -> None:
    told = json.loads(finial(*BASE, "--socket", minting.socket, "--output", "json").out)
    _bound(told["svid"]["token"], told["private_key"])
    del told["svid"]["token"]
    assert told["svid"] == {
        "id": {"trust_domain": "a.test", "path": "/web"},
        "expires_at": SECONDS + 3600,
        "issued_at": SECONDS,
    }


def test_a_life_that_the_server_has_cut_short_is_told_of(minting: FakeServer, finial: Finial) -> None:
    found = finial(*BASE, "--socket", minting.socket, "--ttl", "48h")
    assert "the server lets it live for 1h only, not for 48h" in found.err


_CERTIFICATE = forge.root("root").certificate.der


@pytest.mark.parametrize(
    ("file", "words", "complaint"),
    [
        (None, ["--spiffe-id", "x"], "--spiffe-id: 'x' does not begin"),
        (None, ["--ttl", "x"], "--ttl: 'x' is not a duration"),
        (
            None,
            ["--signing-algorithm", "ES384"],
            "--signing-algorithm: ES384 does not go with a key of this type, ES256 does",
        ),
        (b"", [], "--public-key: it does not hold one block PUBLIC KEY and nothing else"),
        (
            pem.write("PRIVATE KEY", [write_private_key(HOLDER)]),
            [],
            "--public-key: it does not hold one block PUBLIC KEY and nothing else",
        ),
        (pem.write("CERTIFICATE", [_CERTIFICATE]), [], "--public-key: it does not hold one block PUBLIC KEY"),
        (pem.write("PUBLIC KEY", [b"x"]), [], "--public-key: the public key cannot be read"),
        (b"-----BEGIN PUBLIC KEY-----", [], "--public-key: a PEM block has"),
        (
            pem.write("PUBLIC KEY", [public_key_der(forge.key("odd", "ed25519").public_key())]),
            [],
            "--public-key: tokens are signed with RSA keys, or with keys on the curves",
        ),
        (
            pem.write("PUBLIC KEY", [public_key_der(HOLDER.public_key())]),
            ["--key-type", "ec-p256"],
            "--key-type: no key is made where --public-key names one",
        ),
    ],
)
def test_bad_values_are_refused_and_a_private_key_goes_nowhere(
    file: bytes | None, words: list[str], complaint: str, finial: Finial, tmp_path: Path
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(file or b"")
    named = [] if file is None else ["--public-key", path]
    found = finial(*BASE, *words, *named)
    assert found.code == 1
    assert complaint in found.err


def test_a_public_key_that_is_not_there_is_named(finial: Finial, tmp_path: Path) -> None:
    found = finial(*BASE, "--public-key", tmp_path / "absent")
    assert found.code == 1
    assert f"cannot read {tmp_path / 'absent'}" in found.err


def test_a_server_that_signs_none_is_reported_with_the_next_step(server: FakeServer, finial: Finial) -> None:
    server.answers["MintWITSVID"] = RpcError(StatusCode.UNIMPLEMENTED, "WIT functionality is disabled")
    found = finial(*BASE, "--socket", server.socket)
    assert found.code == 1
    assert found.err == (
        "finial: error: WIT functionality is disabled. Start the server with --incubating-wit-svid "
        '2026-07-01, or wit_svid = "2026-07-01" in the table incubating of its settings.\n'
    )


@pytest.mark.spec("STAB-03")
def test_the_help_says_that_it_is_incubating_and_which_revision_it_is(finial: Finial) -> None:
    found = finial("server", "wit", "mint", "--help")
    assert "incubating: this is revision 2026-07-01" in " ".join(found.out.split())
    assert "an incubating standard" in finial("server", "--help").out
