from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from finial.core.bundle import Bundle
from finial.core.bundle_doc import (
    MAX_DEPTH,
    MAX_DOCUMENT_BYTES,
    ReadBundle,
    read_bundle,
    write_bundle,
    write_jwks,
    write_wit_jwks,
)
from finial.core.errors import BundleError
from finial.core.rules.bundle import MAX_ENTRIES
from support import forge, tokens

ROOT = forge.root()
GOOD = base64.b64encode(ROOT.der).decode()


def read(*keys: object) -> ReadBundle:
    return read_bundle(forge.A, json.dumps({"keys": keys}).encode())


def entry(x5c: object) -> dict[str, object]:
    return {"use": "x509-svid", "kty": "EC", "x5c": x5c}


def refusal(data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(forge.A, data)
    return caught.value.reason.id


def test_layout_as_spire_writes_it() -> None:
    bundle = Bundle(
        trust_domain=forge.A,
        x509_authorities=(ROOT.certificate,),
        sequence=1,
        refresh_hint=10 * forge.DAY / 1440,
    )
    text = write_bundle(bundle).decode()
    lines = text.splitlines()
    assert lines[:4] == ["{", '    "keys": [', "        {", '            "use": "x509-svid",']
    assert lines[-3:] == ['    "spiffe_sequence": 1,', '    "spiffe_refresh_hint": 600', "}"]
    assert list(json.loads(text)["keys"][0]) == ["use", "kty", "crv", "x", "y", "x5c"]


JWT, OTHER, WIT = (tokens.authority(kid)[0] for kid in ("jwt", "other", "wit"))
ALL = Bundle(
    trust_domain=forge.A,
    x509_authorities=(ROOT.certificate,),
    jwt_authorities=(JWT, OTHER),
    wit_authorities=(WIT,),
    sequence=3,
)


def key(**changes: object) -> dict[str, object]:
    """A sound entry for JWT-SVIDs, except for the changes; `...` takes a member out."""
    (entry,) = json.loads(write_bundle(Bundle(trust_domain=forge.A, jwt_authorities=(JWT,))))["keys"]
    return {name: value for name, value in {**entry, **changes}.items() if value is not ...}


ENTRY_OF_OTHER = json.loads(write_jwks(Bundle(trust_domain=forge.A, jwt_authorities=(OTHER,))))["keys"][0]


def test_all_kinds_of_keys_come_back() -> None:
    found = read_bundle(forge.A, write_bundle(ALL))
    assert found == ReadBundle(ALL)
    entries = json.loads(write_bundle(ALL))["keys"]
    assert [entry["use"] for entry in entries] == ["x509-svid", "jwt-svid", "jwt-svid", "wit-svid"]
    assert list(entries[1]) == ["use", "kty", "kid", "crv", "x", "y"]
    rsa, _ = tokens.authority("rsa", "rsa-2048")
    (entry,) = json.loads(write_bundle(Bundle(trust_domain=forge.A, jwt_authorities=(rsa,))))["keys"]
    assert list(entry) == ["use", "kty", "kid", "n", "e"]


def test_workloads_get_the_keys_of_one_kind() -> None:
    jwks = json.loads(write_jwks(ALL))
    assert [list(entry) for entry in jwks["keys"]] == [["kty", "kid", "crv", "x", "y"]] * 2
    assert [entry["kid"] for entry in jwks["keys"]] == ["jwt", "other"]
    assert [entry["kid"] for entry in json.loads(write_wit_jwks(ALL))["keys"]] == ["wit"]
    assert list(jwks) == ["keys"]
    bare = Bundle(trust_domain=forge.A, x509_authorities=(ROOT.certificate,), sequence=9)
    assert [json.loads(write(bare)) for write in (write_jwks, write_wit_jwks)] == [{"keys": []}] * 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kid": ...}, "bundle-entry-key-id"),
        ({"kid": ""}, "bundle-entry-key-id"),
        ({"kid": 7}, "bundle-entry-key-id"),
        ({"kid": None}, "bundle-entry-key-id"),
        ({"kid": "x" * 1025}, "bundle-entry-key-id"),
        ({"d": "AA"}, "bundle-entry-private"),
        ({"k": ""}, "bundle-entry-private"),
        ({"oth": None}, "bundle-entry-private"),
        ({"crv": "secp256k1"}, "bundle-entry-key"),
        ({"crv": ...}, "bundle-entry-key"),
        ({"x": ...}, "bundle-entry-key"),
        ({"x": "AA"}, "bundle-entry-key"),
        ({"y": "!"}, "bundle-entry-key"),
        ({"kty": "RSA"}, "bundle-entry-key"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}, "bundle-entry-key"),
        ({"kty": "oct", "k": "AAAA"}, "bundle-entry-kty"),
        ({"kty": ...}, "bundle-entry-kty"),
    ],
)
@pytest.mark.parametrize("use", ["jwt-svid", "wit-svid"])
def test_a_broken_key_for_tokens_is_reported_and_takes_no_other_along(
    changes: dict[str, object], reason: str, use: str
) -> None:
    found = read(key(use=use, **changes), key(kid="good"), key(use="wit-svid", kid="too"), entry([GOOD]))
    assert [each.key_id for each in found.bundle.jwt_authorities] == ["good"]
    assert [each.key_id for each in found.bundle.wit_authorities] == ["too"]
    assert found.bundle.x509_authorities == (ROOT.certificate,)
    (finding,) = (*found.broken, *found.skipped)
    assert (finding.reason.id, finding.where) == (reason, "keys[0]")
    assert (finding in found.skipped) == (reason == "bundle-entry-kty")


@pytest.mark.parametrize("use", [..., None, "jwt", "JWT-SVID", "sig", ["jwt-svid"]])
def test_a_key_of_another_use_is_passed_over(use: object) -> None:
    found = read(key(use=use))
    assert found.bundle == Bundle(trust_domain=forge.A)
    assert [finding.reason.id for finding in found.skipped] == ["bundle-entry-use"]
    assert not found.broken


def test_of_two_keys_with_one_key_id_the_first_counts() -> None:
    other = key()
    other.update({name: value for name, value in ENTRY_OF_OTHER.items() if name in {"x", "y"}})
    found = read(key(), key(), other, {**other, "use": "wit-svid"}, key(use="wit-svid"), key(kid="K"))
    assert found.bundle.jwt_authorities == (JWT, replace(JWT, key_id="K"))
    assert found.bundle.wit_authorities == ()
    assert [finding.where for finding in found.broken] == ["keys[2]", "keys[3]", "keys[4]"]
    assert {finding.reason.id for finding in found.broken} == {"bundle-entry-key-id"}
    assert "'jwt'" in found.broken[0].message


def test_what_says_nothing_of_the_key_is_not_looked_at() -> None:
    more = {"alg": "none", "key_ops": 7, "x5c": ["!"], "x5t": None, "use ": "x509-svid"}
    assert read(key(**more)) == ReadBundle(Bundle(trust_domain=forge.A, jwt_authorities=(JWT,)))


def test_a_published_private_half_is_not_quoted() -> None:
    (finding,) = read(key(d="very-secret")).broken
    assert "very-secret" not in f"{finding}"


def test_members_without_value_are_left_out() -> None:
    assert write_bundle(Bundle(trust_domain=forge.A)) == b'{\n    "keys": []\n}'


def test_an_authority_whose_key_nobody_could_use_is_left_out() -> None:
    weak = forge.root("weak", own_key=forge.key("weak", "rsa-1024"))
    assert json.loads(write_bundle(forge.bundle(forge.A, weak))) == {"keys": []}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"keys":[]}x',
        b"\xef\xbb\xbf{}",
        b'{"keys":[],"x":"\xff"}',
        '{"keys":[]}'.encode("utf-16"),
        b'{"keys":[],"x":NaN}',
        b'{"keys":[],"x":-Infinity}',
        b'{"keys":[],"x":' + b"9" * 5000 + b"}",
        b'{"keys":[],"x":"unterminated',
        b"<html></html>",
    ],
)
def test_what_is_not_json(data: bytes) -> None:
    assert refusal(data) == "bundle-json"


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b'{"keys":[],"x":' + b"[" * depth + b"]" * depth + b"}"

    assert not read_bundle(forge.A, nested(MAX_DEPTH - 1)).broken
    assert refusal(nested(MAX_DEPTH)) == "bundle-json"
    assert refusal(b"[" * 1_000_000) == "bundle-json"
    brackets_in_text = json.dumps({"keys": [], "x": '\\"' + "[" * 100}).encode()
    assert not read_bundle(forge.A, brackets_in_text).broken


def test_size_is_bounded() -> None:
    assert refusal(b" " * (MAX_DOCUMENT_BYTES + 1)) == "bundle-large"
    assert refusal(json.dumps({"keys": [0] * (MAX_ENTRIES + 1)}).encode()) == "bundle-large"


def test_several_faults_of_a_document_are_listed() -> None:
    with pytest.raises(BundleError) as caught:
        read_bundle(forge.A, b'{"spiffe_sequence":-1}')
    assert [finding.reason.id for finding in caught.value.findings] == ["bundle-keys", "bundle-sequence"]
    assert caught.value.subject == "a.test"


@pytest.mark.parametrize("x5c", ["text", 7, {}, [7], [None], [["x"]]])
def test_a_certificate_list_of_another_form(x5c: object) -> None:
    found = read(entry(x5c))
    assert [finding.reason.id for finding in found.broken] == ["bundle-entry-certificate"]


def test_broken_entries_never_take_others_along() -> None:
    not_authority = base64.b64encode(forge.leaf(ROOT).der).decode()
    found = read(
        7,
        entry(["!"]),
        entry(["\u00e9"]),
        entry(["AAAA"]),
        entry([GOOD[:-8]]),
        entry([not_authority]),
        entry([GOOD]),
    )
    assert found.bundle.x509_authorities == (ROOT.certificate,)
    where = [finding.where for finding in found.broken]
    assert where == ["keys[0]", "keys[1]", "keys[2]", "keys[3]", "keys[4]", "keys[5]", "keys[5]"]
    assert {finding.reason.id for finding in found.broken[1:]} == {"bundle-entry-certificate"}


def test_a_refresh_hint_of_zero_is_none() -> None:
    assert read_bundle(forge.A, b'{"keys":[],"spiffe_refresh_hint":0}').bundle.refresh_hint is None
