"""Messages of the Workload API at the client: SVIDs and bundles, or findings, whatever an agent sends."""

from __future__ import annotations

import json
import random  # noqa: TID251 - seeded
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import DecodeError, Message

from finial.core import jwk
from finial.core.errors import RefusedError
from finial.core.ids import SpiffeID
from finial.core.keys import write_private_key
from finial.sdk.problems import WorkloadAPIError
from finial.sdk.response_jwt import check_shown, read_jwt_bundles, read_jwt_svids, read_validated
from finial.sdk.response_wit import read_wit_bundles, read_wit_svids
from finial.sdk.response_x509 import read_bundles, read_svids
from finial.wire.gen import google_protobuf as well_known
from finial.wire.gen import workload as pb
from fuzz import stock
from fuzz.target import Target, refused_well
from support import forge, tokens

_AUDIENCE = (tokens.AUDIENCE,)
_WANTED = SpiffeID(forge.WEB)


def _svids(message: pb.X509SVIDResponse) -> None:
    context = read_svids(message).value
    assert context.svids
    assert all(svid.private_key is not None for svid in context.svids)
    assert all(context.bundle_for(svid.id.trust_domain) is not None for svid in context.svids)


def _jwt_svids(message: pb.JWTSVIDResponse) -> None:
    svids = read_jwt_svids(message, _AUDIENCE, _WANTED if len(message.svids) == 2 else None).value
    assert svids
    assert all(tokens.AUDIENCE in svid.audience for svid in svids)
    sent = {each.svid: each.spiffe_id for each in message.svids}
    assert all(sent[svid.token] == svid.id.text for svid in svids)


def _validated(message: pb.ValidateJWTSVIDResponse) -> None:
    found = read_validated(message, tokens.AUDIENCE).value
    assert found.id.text == message.spiffe_id == found.claims["sub"]


def _jwt_bundles(message: pb.JWTBundlesResponse) -> None:
    bundles = read_jwt_bundles(message).value
    again = pb.JWTBundlesResponse(bundles={each.id.text: keys for each, keys in bundles.key_sets().items()})
    assert read_jwt_bundles(again).value == bundles


def _wit_svids(message: pb.WITSVIDResponse) -> None:
    identities = read_wit_svids(message, _WANTED if len(message.svids) == 2 else None).value
    assert identities
    assert all(each.private_key.public_key() == each.svid.key for each in identities)


_READERS: tuple[tuple[type[Message], Callable[[Any], object]], ...] = (
    (pb.X509SVIDResponse, _svids),
    (pb.X509BundlesResponse, read_bundles),
    (pb.JWTSVIDResponse, _jwt_svids),
    (pb.ValidateJWTSVIDResponse, _validated),
    (pb.JWTBundlesResponse, _jwt_bundles),
    (pb.WITSVIDResponse, _wit_svids),
    (pb.WITBundlesResponse, read_wit_bundles),
)


def check(data: bytes) -> None:
    try:
        check_shown(data.decode("latin-1"))
    except WorkloadAPIError as refused:
        assert refused.message.isprintable()
    for kind, read in _READERS:
        with suppress(DecodeError):
            message = kind.FromString(data)
            try:
                read(message)
            except RefusedError as refused:
                refused_well(refused)


def _good() -> pb.X509SVIDResponse:
    root = stock.root()
    leaf = stock.leaf(root)
    svid = pb.X509SVID(
        spiffe_id=forge.WEB,
        x509_svid=leaf.der,
        x509_svid_key=write_private_key(stock.key("leaf")),
        bundle=root.der,
    )
    return pb.X509SVIDResponse(svids=[svid], federated_bundles={"spiffe://b.test": root.der})


def _key_set(**changes: object) -> dict[str, object]:
    entry = {"kid": "k1", **jwk.write_public(stock.token_authority("k1").key), **changes}
    return {"keys": [tokens.without(entry)]}


def _claims() -> well_known.Struct:
    found = well_known.Struct()
    found.update({"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": tokens.SECONDS, "n": {"x": [None, 1.5]}})
    return found


def _db() -> str:
    return stock.wit(sub="spiffe://a.test/db")


def _wit_key(name: str = "holder") -> str:
    key = stock.key(name)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return json.dumps(jwk.write_private(key))


def corpus() -> list[bytes]:
    good = _good()
    wit = pb.WITSVID(spiffe_id=forge.WEB, wit_svid=stock.wit(), wit_svid_key=_wit_key(), hint="h")
    messages: list[Message] = [
        good,
        pb.X509SVIDResponse(svids=[*good.svids, *good.svids]),
        pb.X509BundlesResponse(bundles={"spiffe://a.test": stock.root().der, "nonsense": b"x"}),
        pb.JWTSVIDResponse(svids=[pb.JWTSVID(spiffe_id=forge.WEB, svid=stock.jwt(), hint="h")]),
        pb.ValidateJWTSVIDResponse(spiffe_id=forge.WEB, claims=_claims()),
        pb.JWTBundlesResponse(bundles={"spiffe://a.test": json.dumps(_key_set()).encode(), "x": b"{}"}),
        pb.WITSVIDResponse(svids=[wit, wit]),
        pb.WITSVIDResponse(
            svids=[wit, pb.WITSVID(spiffe_id="spiffe://a.test/db", wit_svid=_db(), wit_svid_key=_wit_key())]
        ),
        pb.JWTSVIDResponse(svids=_foreign()),
        pb.WITSVIDResponse(
            svids=[pb.WITSVID(spiffe_id=forge.WEB, wit_svid=_db(), wit_svid_key=_wit_key("other"))]
        ),
        pb.WITBundlesResponse(bundles={"spiffe://a.test": json.dumps(_key_set(use="wit-svid"))}),
    ]
    return [*(message.SerializeToString(deterministic=True) for message in messages), b""]


def generate(source: random.Random) -> bytes:
    make = source.choice([_make_x509, _make_x509, _make_jwt, _make_keys, _make_wit, _make_validated])
    return make(source).SerializeToString(deterministic=True)


def _make_x509(source: random.Random) -> Message:
    message = pb.X509SVIDResponse()
    message.CopyFrom(_KEPT)
    svid = message.svids[0]
    for name in ("x509_svid", "x509_svid_key", "bundle"):
        if source.random() < 0.4:
            value = bytearray(getattr(svid, name))
            value[source.randrange(len(value))] ^= 1 << source.randrange(8)
            setattr(svid, name, bytes(value[: source.choice([len(value), source.randrange(len(value))])]))
    svid.spiffe_id = source.choice(_IDS)
    svid.hint = source.choice(["", "h", "\u0000"])
    message.federated_bundles[source.choice(["", "spiffe://b.test", "b.test", "spiffe://a.test"])] = b"x"
    return message


def _make_jwt(source: random.Random) -> Message:
    return pb.JWTSVIDResponse(
        svids=[
            pb.JWTSVID(
                spiffe_id=source.choice(_IDS), svid=_changed(source, _TOKEN), hint=source.choice(["", "h"])
            )
            for _ in range(source.randrange(1, 4))
        ]
    )


def _make_keys(source: random.Random) -> Message:
    name = source.choice(["use", "kid", "kty", "crv", "x", "y", "d", "alg"])
    value: object = source.choice(_VALUES)
    text = json.dumps(_key_set(**{name: value}))
    return pb.JWTBundlesResponse(bundles={source.choice(_IDS): _changed(source, text).encode()})


def _make_wit(source: random.Random) -> Message:
    wit = pb.WITSVID(spiffe_id=source.choice(_IDS), wit_svid=_WIT)
    wit.wit_svid_key = _changed(source, _WIT_KEY)
    return pb.WITSVIDResponse(svids=[wit])


def _make_validated(source: random.Random) -> Message:
    message = pb.ValidateJWTSVIDResponse(spiffe_id=source.choice(_IDS), claims=_claims())
    number = source.choice([0.0, -1.5, float("nan"), float("inf"), 1e300])
    message.claims.fields[source.choice(["exp", "sub", "aud", "x"])].number_value = number
    return message


def _foreign() -> list[pb.JWTSVID]:
    """Two tokens, of which one is of somebody else and for somebody else."""
    other = stock.jwt(sub="spiffe://a.test/db", aud="x")
    return [
        pb.JWTSVID(spiffe_id=forge.WEB, svid=stock.jwt()),
        pb.JWTSVID(spiffe_id="spiffe://a.test/db", svid=other),
    ]


def _changed(source: random.Random, text: str) -> str:
    if source.random() < 0.5:
        return text
    at = source.randrange(len(text))
    return text[:at] + source.choice(["", ".", "=", "_", '"', "{", "A"]) + text[at + 1 :]


_IDS = [forge.WEB, forge.WEB, "", "spiffe://a.test", "spiffe://b.test/web", "x"]
_VALUES: list[object] = [..., "", "jwt-svid", "wit-svid", "sig", "k1", "P-384", "AAAA", 7, None, [], {}]
_KEPT = _good()
_TOKEN, _WIT, _WIT_KEY = stock.jwt(), stock.wit(), _wit_key()
_PARSER = tuple(
    f"finial.sdk.{each}" for each in ("response", "response_x509", "response_jwt", "response_wit", "keysets")
)
_OMITS = (
    "by_hint", "X509Context", "X509Bundles.bundle_for", "audiences_of", "WITIdentity.id", "WITIdentity.prove",
    "write_key",
)  # fmt: skip
TARGET = Target("responses", corpus, check, generate, budget_s=0.2, modules=_PARSER, omits=_OMITS)
