from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from finial.core import bundle_doc, pem
from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.wire.bundles import bundle_message, read_bundle
from finial.wire.gen import spire_api_server_bundle_v1 as pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import ok
from support.admin import FakeServer, Finial
from support.certs import Authority
from support.tokens import authority

OWN = Authority("example.org").der
OTHER = Authority("other.example").der
PEM = pem.write(pem.CERTIFICATE, [OTHER])
SPIFFE = bundle_doc.write_bundle(
    Bundle(trust_domain=TrustDomain("other.example"), x509_authorities=(Certificate.parse(OTHER),))
)
STORED = types.Bundle(trust_domain="other.example", x509_authorities=[types.X509Certificate(asn1=OTHER)])


def own(_request: object) -> types.Bundle:
    return types.Bundle(
        trust_domain="example.org", x509_authorities=[types.X509Certificate(asn1=OWN)], sequence_number=3
    )


def test_the_own_bundle_is_written_as_pem(server: FakeServer, finial: Finial) -> None:
    server.answers["GetBundle"] = own
    base = ("server", "bundle", "show", "--socket", server.socket)
    assert finial(*base).out.encode() == pem.write(pem.CERTIFICATE, [OWN])
    assert finial(*base, "-format", "pem").out.encode() == pem.write(pem.CERTIFICATE, [OWN])


def test_the_own_bundle_is_written_as_a_document(server: FakeServer, finial: Finial) -> None:
    server.answers["GetBundle"] = own
    base = ("server", "bundle", "show", "--socket", server.socket)
    read = bundle_doc.read_bundle(
        TrustDomain("example.org"), finial(*base, "--format", "spiffe").out.encode()
    )
    assert [each.der for each in read.bundle.x509_authorities] == [OWN]
    assert read.bundle.sequence == 3
    assert json.loads(finial(*base, "--output", "json").out)["sequence_number"] == "3"


def test_federated_bundles_are_listed_page_by_page(server: FakeServer, finial: Finial) -> None:
    def page(request: pb.ListFederatedBundlesRequest) -> pb.ListFederatedBundlesResponse:
        if request.page_token:
            return pb.ListFederatedBundlesResponse()
        return pb.ListFederatedBundlesResponse(bundles=[STORED], next_page_token="1")

    server.answers["ListFederatedBundles"] = page
    found = finial("server", "bundle", "list", "--socket", server.socket)
    assert found.out.encode().endswith(PEM)
    assert "* spiffe://other.example\n" in found.out
    assert [request.page_size for _, request in server.asked] == [500, 500]
    as_json = finial("server", "bundle", "list", "--socket", server.socket, "--output", "json")
    assert [each["trust_domain"] for each in json.loads(as_json.out)["bundles"]] == ["other.example"]


def test_one_federated_bundle_is_written(server: FakeServer, finial: Finial) -> None:
    server.answers["GetFederatedBundle"] = lambda _request: STORED
    base = ("server", "bundle", "list", "--socket", server.socket)
    assert finial(*base, "--trust-domain", "other.example").out.encode() == PEM
    assert finial(*base, "-id", "spiffe://other.example", "-format", "spiffe").out.encode() == SPIFFE + b"\n"
    assert server.asked[0] == server.asked[1]
    assert server.asked[0][1] == pb.GetFederatedBundleRequest(trust_domain="other.example")
    as_json = finial(*base, "--trust-domain", "other.example", "--output", "json")
    assert json.loads(as_json.out)["trust_domain"] == "other.example"


def test_a_reply_that_leaves_something_out_is_no_success(server: FakeServer, finial: Finial) -> None:
    found = finial("server", "bundle", "delete", "--trust-domain", "other.example", "--socket", server.socket)
    assert (found.code, found.out) == (1, "")
    assert "the server answered 0 of 1 items" in found.err


@pytest.mark.parametrize(
    ("stdin", "why"),
    [
        (None, "it is closed"),
        (io.TextIOWrapper(io.BytesIO(b"x" * ((16 << 20) + 1))), "it is larger than 16777216 bytes"),
    ],
)
def test_a_standard_input_that_is_of_no_use_is_named(
    stdin: io.TextIOWrapper | None, why: str, finial: Finial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    found = finial("server", "bundle", "set", "--trust-domain", "other.example")
    assert (found.code, found.err) == (1, f"finial: error: standard input: {why}\n")


def test_none_is_said(server: FakeServer, finial: Finial) -> None:
    found = finial("server", "bundle", "list", "--socket", server.socket)
    assert (found.out, found.err) == ("", "finial: there are no federated bundles\n")


def stored(request: pb.BatchSetFederatedBundleRequest) -> pb.BatchSetFederatedBundleResponse:
    results = [pb.BatchSetFederatedBundleResponse.Result(status=ok(), bundle=each) for each in request.bundle]
    return pb.BatchSetFederatedBundleResponse(results=results)


@pytest.mark.spec("FED-46", "FED-47")
@pytest.mark.parametrize(("form", "data"), [("pem", PEM), ("spiffe", SPIFFE)])
def test_a_bundle_is_set_from_a_file_or_standard_input(
    form: str,
    data: bytes,
    server: FakeServer,
    finial: Finial,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.answers["BatchSetFederatedBundle"] = stored
    path = tmp_path / "b"
    path.write_bytes(data)
    base = ("server", "bundle", "set", "--socket", server.socket)
    found = finial(*base, "--trust-domain", "other.example", "--path", path, "--format", form)
    assert found.out == "Set the bundle of other.example (1 X.509 authorities)\n"
    finial(*base, "-id", "spiffe://other.example", f"-path={path}", "-format", form)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    as_json = finial(*base, "--trust-domain", "other.example", "--format", form, "--output", "json")
    assert json.loads(as_json.out)["results"][0]["status"]["code"] == 0
    wanted = pb.BatchSetFederatedBundleRequest(bundle=[STORED])
    assert [request for _, request in server.asked] == [wanted] * 3


def test_keys_for_tokens_are_set_and_shown(server: FakeServer, finial: Finial, tmp_path: Path) -> None:
    def without_wit(request: pb.BatchSetFederatedBundleRequest) -> pb.BatchSetFederatedBundleResponse:
        response = stored(request)
        for result in response.results:
            result.bundle.ClearField("wit_authorities")
        return response

    jwt, wit = (authority(kid)[0] for kid in ("j", "w"))
    bundle = Bundle(
        trust_domain=TrustDomain("other.example"),
        x509_authorities=(Certificate.parse(OTHER),),
        jwt_authorities=(jwt,),
        wit_authorities=(wit,),
    )
    document = bundle_doc.write_bundle(bundle)
    (tmp_path / "b").write_bytes(document)
    words = (
        "server", "bundle", "set", "--socket", server.socket, "--trust-domain", "other.example",
        "--path", tmp_path / "b", "--format", "spiffe",
    )  # fmt: skip
    server.answers["BatchSetFederatedBundle"] = without_wit
    found = finial(*words)
    assert found.out == "Set the bundle of other.example (1 X.509 authorities, 1 JWT authorities)\n"
    assert found.err == "finial: left out by the server, which has not opted in: 1 WIT authorities\n"
    server.answers["BatchSetFederatedBundle"] = stored
    assert finial(*words).err == ""
    assert [read_bundle(request.bundle[0]) for _, request in server.asked] == [bundle, bundle]
    server.answers["GetBundle"] = lambda _request: bundle_message(bundle)
    shown = finial("server", "bundle", "show", "--socket", server.socket, "--format", "spiffe")
    assert shown.out.encode() == document + b"\n"


@pytest.mark.parametrize(
    ("form", "text", "complaint"),
    [
        ("pem", "", "no CERTIFICATE block"),
        ("pem", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "certificate 1"),
        ("spiffe", "{", "no JSON"),
        ("spiffe", '{"keys": [{"use": "x509-svid", "kty": "EC", "x5c": ["AA=="]}]}', "keys[0]"),
    ],
)
def test_a_bundle_that_is_none_is_refused(
    form: str, text: str, complaint: str, finial: Finial, tmp_path: Path
) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    found = finial("server", "bundle", "set", "--trust-domain", "o", "--path", path, "--format", form)
    assert found.code == 1
    assert found.err.startswith(f"finial: error: {path}: ")
    assert complaint in found.err


def test_a_file_that_is_not_there_is_named(finial: Finial, tmp_path: Path) -> None:
    found = finial("server", "bundle", "set", "--trust-domain", "o", "--path", tmp_path / "absent")
    assert found.err.startswith(
        f"finial: error: cannot read {tmp_path / 'absent'}: No such file or directory."
    )


@pytest.mark.parametrize(
    ("words", "spires", "mode"),
    [
        ([], [], 0),
        (["--mode", "restrict"], ["-mode=restrict"], 0),
        (["--mode", "delete"], ["-mode", "delete"], 1),
        (["--mode", "dissociate"], ["-mode", "dissociate"], 2),
    ],
)
def test_a_bundle_is_deleted(
    words: list[str], spires: list[str], mode: int, server: FakeServer, finial: Finial
) -> None:
    server.answers["BatchDeleteFederatedBundle"] = lambda request: pb.BatchDeleteFederatedBundleResponse(
        results=[
            pb.BatchDeleteFederatedBundleResponse.Result(status=ok(), trust_domain=each)
            for each in request.trust_domains
        ]
    )
    base = ("server", "bundle", "delete", "--socket", server.socket)
    assert finial(*base, "--trust-domain", "o", *words).out == "Deleted the bundle of o\n"
    assert finial(*base, "-id", "spiffe://o", *spires, "-output", "json").out.startswith('{"results":')
    (_, first), (_, second) = server.asked
    assert first == second
    assert (list(first.trust_domains), first.mode) == (["o"], mode)


def test_a_refusal_is_told(server: FakeServer, finial: Finial) -> None:
    bad = types.Status(code=9, message="entries refer to it")
    server.answers["BatchDeleteFederatedBundle"] = lambda _request: pb.BatchDeleteFederatedBundleResponse(
        results=[pb.BatchDeleteFederatedBundleResponse.Result(status=bad)]
    )
    found = finial("server", "bundle", "delete", "--socket", server.socket, "--trust-domain", "o")
    assert (found.code, found.err) == (1, "finial: error: bundle of o: entries refer to it\n")
