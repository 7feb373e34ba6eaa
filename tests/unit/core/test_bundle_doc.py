from __future__ import annotations

import base64
import json

import pytest

from finial.core.bundle import Bundle
from finial.core.bundle_doc import MAX_DEPTH, MAX_DOCUMENT_BYTES, ReadBundle, read_bundle, write_bundle
from finial.core.errors import BundleError
from finial.core.rules.bundle import MAX_ENTRIES
from support import forge

ROOT = forge.root()


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
    good = base64.b64encode(ROOT.der).decode()
    not_authority = base64.b64encode(forge.leaf(ROOT).der).decode()
    found = read(
        7,
        entry(["!"]),
        entry(["\u00e9"]),
        entry(["AAAA"]),
        entry([good[:-8]]),
        entry([not_authority]),
        entry([good]),
    )
    assert found.bundle.x509_authorities == (ROOT.certificate,)
    where = [finding.where for finding in found.broken]
    assert where == ["keys[0]", "keys[1]", "keys[2]", "keys[3]", "keys[4]", "keys[5]", "keys[5]"]
    assert {finding.reason.id for finding in found.broken[1:]} == {"bundle-entry-certificate"}


def test_a_refresh_hint_of_zero_is_none() -> None:
    assert read_bundle(forge.A, b'{"keys":[],"spiffe_refresh_hint":0}').bundle.refresh_hint is None
