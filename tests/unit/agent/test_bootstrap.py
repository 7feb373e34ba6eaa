from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from finial.agent.bootstrap import TrustError, look_around, read_trust
from finial.agent.config import AgentSettings
from finial.agent.disk import Disk
from finial.agent.identity import NodeIdentity
from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.bundle_doc import write_bundle
from finial.core.errors import FinialError
from finial.core.ids import TrustDomain
from finial.core.x509svid import X509SVID
from finial.rpc import Tcp
from finial.runtime.files import FileError
from support import forge, tokens
from support.forge import NOW, A, B

ROOT = forge.root()
OTHER = forge.root("other")
FOREIGN = forge.root(domain=B)
NAMELESS = forge.root("nameless", uris=())


def write(path: Path, *roots: forge.Made) -> Path:
    path.write_bytes(pem.write(pem.CERTIFICATE, [each.der for each in roots]))
    return path


def test_the_name_comes_from_the_roots(tmp_path: Path) -> None:
    bundle = read_trust(write(tmp_path / "b", ROOT, OTHER), None)
    assert bundle == Bundle(trust_domain=A, x509_authorities=(ROOT.certificate, OTHER.certificate))


def test_a_bundle_document_does_as_well(tmp_path: Path) -> None:
    file = tmp_path / "b"
    file.write_bytes(b"\n  " + write_bundle(forge.bundle(A, ROOT)))
    assert read_trust(file, None) == forge.bundle(A, ROOT)


def test_an_entry_of_a_document_that_is_broken_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "b"
    document = json.loads(write_bundle(forge.bundle(A, ROOT)))
    broken = {**document["keys"][0], "x5c": [base64.b64encode(b"junk").decode()]}
    file.write_text(json.dumps({"keys": [broken, *document["keys"]]}))
    assert read_trust(file, None) == forge.bundle(A, ROOT)
    assert "an entry of the trust bundle is passed over" in caplog.text


@pytest.mark.parametrize(
    "roots", [(NAMELESS,), (ROOT, NAMELESS), (ROOT, FOREIGN)], ids=["none", "some", "two names"]
)
def test_without_one_name_the_trust_domain_has_to_be_given(
    tmp_path: Path, roots: tuple[forge.Made, ...]
) -> None:
    file = write(tmp_path / "b", *roots)
    with pytest.raises(TrustError, match="do not agree on the name") as caught:
        read_trust(file, None)
    assert str(file) in caught.value.message
    assert "--trust-domain" in caught.value.reason.hint


def test_roots_without_a_name_are_taken_for_the_domain_that_is_given(tmp_path: Path) -> None:
    assert read_trust(write(tmp_path / "b", NAMELESS, ROOT), A).trust_domain == A


def test_a_bundle_of_another_domain_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "b", ROOT, FOREIGN)
    with pytest.raises(TrustError) as caught:
        read_trust(file, A)
    assert caught.value.message == f"the trust bundle {file} is of trust domain b.test, not of a.test"
    assert caught.value.reason.hint


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no CERTIFICATE block"),
        (b"nothing of the kind", "no CERTIFICATE block"),
        (b"{}", "keys"),
        (b'{"keys": []}', "no X.509 authority"),
        (b"{", "no JSON object"),
        (pem.write(pem.CERTIFICATE, [b"junk"]), "certificate 1: cannot be read"),
        (pem.write(pem.CERTIFICATE, [forge.leaf(ROOT).der]), "certificate 1"),
        (pem.write(pem.PRIVATE_KEY, [ROOT.key_der]), "no CERTIFICATE block"),
    ],
)
def test_what_is_no_bundle_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "b"
    file.write_bytes(content)
    with pytest.raises(TrustError) as caught:
        read_trust(file, None)
    assert caught.value.message.startswith(f"the trust bundle {file} is none: ")
    assert why in caught.value.message
    assert "finial server bundle show" in caught.value.reason.hint


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read .*nowhere: No such file"):
        read_trust(tmp_path / "nowhere", None)


class Case:
    """A data folder, and what look_around makes of it and of some settings."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = Disk(path / "data")

    def joined(self, domain: TrustDomain = A, root: forge.Made = ROOT) -> None:
        made = forge.leaf(root, f"spiffe://{domain}/spire/agent/x/y")
        self.disk.store_identity(NodeIdentity(X509SVID((made.certificate,), made.key), reattestable=False))

    def look(self, **settings: Any) -> Any:
        found = look_around(AgentSettings(server=Tcp("a", 1), **settings), self.disk, NOW)
        return found.trust_domain, found.bundle, found.identity is not None


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_at_first_the_file_is_all_there_is(case: Case) -> None:
    file = write(case.path / "b", ROOT)
    assert case.look(trust_bundle=file) == (A, forge.bundle(A, ROOT), False)


def test_a_node_that_has_joined_goes_by_its_last_bundle(case: Case) -> None:
    case.joined()
    case.disk.store_bundle(forge.bundle(A, OTHER))
    assert case.look(trust_bundle=write(case.path / "b", ROOT)) == (A, forge.bundle(A, OTHER), True)
    assert case.look() == (A, forge.bundle(A, OTHER), True)


def test_a_node_that_has_not_goes_by_the_file(case: Case) -> None:
    case.disk.store_bundle(forge.bundle(A, OTHER))
    assert case.look(trust_bundle=write(case.path / "b", ROOT)) == (A, forge.bundle(A, ROOT), False)
    assert case.look() == (A, forge.bundle(A, OTHER), False)


def test_a_last_bundle_that_has_expired_gives_way_to_the_file(case: Case) -> None:
    case.joined()
    old = forge.root("old", not_after=NOW - timedelta(hours=1))
    case.disk.store_bundle(forge.bundle(A, old))
    assert case.look(trust_bundle=write(case.path / "b", ROOT))[1] == forge.bundle(A, ROOT)
    assert case.look(insecure_bootstrap=True, trust_domain=A)[1] is None
    assert case.look()[1] == forge.bundle(A, old)  # for the error that says so


def test_insecure_bootstrap_believes_nothing_that_is_known_better(case: Case) -> None:
    assert case.look(insecure_bootstrap=True, trust_domain=A) == (A, None, False)
    case.disk.store_bundle(forge.bundle(A, ROOT))
    assert case.look(insecure_bootstrap=True, trust_domain=A)[1] == forge.bundle(A, ROOT)


def test_no_trust_is_an_error(case: Case) -> None:
    with pytest.raises(TrustError, match="nothing says which server can be trusted"):
        case.look()
    with pytest.raises(TrustError, match="by which authorities the server of a.test is known") as caught:
        case.look(trust_domain=A)
    assert "--trust-bundle" in caught.value.reason.hint


@pytest.mark.parametrize("what", ["identity", "bundle"])
def test_a_folder_of_another_domain_is_refused(case: Case, what: str) -> None:
    if what == "identity":
        case.joined(B, FOREIGN)
    else:
        case.disk.store_bundle(forge.bundle(B, FOREIGN))
    for settings in ({"trust_domain": A}, {"trust_bundle": write(case.path / "b", ROOT)}):
        with pytest.raises(TrustError, match="is of trust domain b.test, not of a.test"):
            case.look(**settings)


def test_what_the_disk_holds_comes_back(case: Case) -> None:
    case.joined()
    identity = case.disk.identity()
    assert identity is not None
    assert identity.id.path == "/spire/agent/x/y"
    assert not identity.reattestable
    key = case.disk.attest_key()
    assert case.disk.attest_key().private_numbers() == key.private_numbers()
    case.disk.store_identity(NodeIdentity(identity.svid, reattestable=True))
    again = case.disk.identity()
    assert again is not None
    assert again.reattestable
    assert case.disk.attest_key().private_numbers() != key.private_numbers()
    case.disk.forget_identity()
    assert case.disk.identity() is None
    assert case.disk.bundle() is None


def test_the_keys_for_tokens_are_kept_with_the_bundle(case: Case) -> None:
    bundle = replace(
        forge.bundle(A, ROOT),
        jwt_authorities=(tokens.authority("j")[0],),
        wit_authorities=(tokens.authority("w")[0],),
        sequence=3,
    )
    case.disk.store_bundle(bundle)
    assert Disk(case.path / "data").bundle() == bundle


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1}',
        '{"format": 1, "svid": 5}',
        '{"format": 1, "svid": "x"}',
    ],
)
def test_a_damaged_file_is_named(case: Case, content: str) -> None:
    file = case.path / "data/private/identity.json"
    file.write_text(content)
    with pytest.raises(FinialError, match="identity.json is damaged") as caught:
        case.disk.identity()
    assert caught.value.reason.hint
    (case.path / "data/bundle.json").write_text(content)
    with pytest.raises(FinialError, match="bundle.json is damaged"):
        case.disk.bundle()


def test_a_damaged_key_is_named_and_not_quoted(case: Case) -> None:
    file = case.path / "data/private/attest-key.pem"
    another_kind = forge.root("ed", own_key=forge.key("ed", "ed25519")).key_der
    for content in (b"", *(pem.write(pem.PRIVATE_KEY, [der]) for der in (b"secret", another_kind))):
        file.write_bytes(content)
        with pytest.raises(FinialError, match="attest-key.pem is damaged") as caught:
            case.disk.attest_key()
        assert "secret" not in str(caught.value)
