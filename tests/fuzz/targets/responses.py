"""Messages of the Workload API at the client: SVIDs and bundles, or findings, whatever an agent sends."""

from __future__ import annotations

import random  # noqa: TID251 - seeded

from google.protobuf.message import DecodeError

from finial.core.errors import RefusedError
from finial.core.keys import write_private_key
from finial.sdk.response import read_bundles, read_svids
from finial.wire.gen import workload as pb
from fuzz.target import Target, refused_well
from support import forge


def check(data: bytes) -> None:
    try:
        svids = pb.X509SVIDResponse.FromString(data)
        bundles = pb.X509BundlesResponse.FromString(data)
    except DecodeError:
        return
    try:
        context = read_svids(svids).value
    except RefusedError as refused:
        refused_well(refused)
    else:
        assert context.svids
        assert all(svid.private_key is not None for svid in context.svids)
        assert all(context.bundle_for(svid.id.trust_domain) is not None for svid in context.svids)
    try:
        read_bundles(bundles)
    except RefusedError as refused:
        refused_well(refused)


def _good() -> pb.X509SVIDResponse:
    root = forge.root()
    leaf = forge.leaf(root)
    svid = pb.X509SVID(
        spiffe_id=forge.WEB,
        x509_svid=leaf.der,
        x509_svid_key=write_private_key(forge.key("leaf")),
        bundle=root.der,
    )
    return pb.X509SVIDResponse(svids=[svid], federated_bundles={"spiffe://b.test": root.der})


def corpus() -> list[bytes]:
    good = _good()
    two = pb.X509SVIDResponse(svids=[*good.svids, *good.svids])
    bundles = pb.X509BundlesResponse(bundles={"spiffe://a.test": forge.root().der, "nonsense": b"x"})
    return [good.SerializeToString(), two.SerializeToString(), bundles.SerializeToString(), b""]


def generate(source: random.Random) -> bytes:
    message = pb.X509SVIDResponse()
    message.CopyFrom(_KEPT)
    svid = message.svids[0]
    for name in ("x509_svid", "x509_svid_key", "bundle"):
        if source.random() < 0.4:
            value = bytearray(getattr(svid, name))
            value[source.randrange(len(value))] ^= 1 << source.randrange(8)
            setattr(svid, name, bytes(value[: source.choice([len(value), source.randrange(len(value))])]))
    svid.spiffe_id = source.choice([forge.WEB, "", "spiffe://a.test", "spiffe://b.test/web", "x"])
    svid.hint = source.choice(["", "h", "\u0000"])
    message.federated_bundles[source.choice(["", "spiffe://b.test", "b.test", "spiffe://a.test"])] = b"x"
    return message.SerializeToString()


_KEPT = _good()
_PARSER = ("finial.sdk.response",)
TARGET = Target("responses", corpus, check, generate, budget_s=0.2, modules=_PARSER)
