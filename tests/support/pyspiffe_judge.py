"""A workload on py-spiffe that gets tokens and judges; see support/judge.py for the orders and the answers.

Run as a program of its own. The library verifies no chains by itself and reads no SPIFFE bundle documents.
Hints are None: it does not tell them.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)
from spiffe import JwtBundle, JwtSvid, SpiffeId, TrustDomain, WorkloadApiClient, X509Bundle, X509Svid

from support.pyspiffe_peer import describe, status_code, words

_PATIENCE = 20.0

Order = Mapping[str, Any]
Answer = dict[str, Any]


def _data(text: str) -> bytes:
    return base64.b64decode(text)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _id(question: Order) -> Answer:
    found = SpiffeId(_data(question["text"]).decode())
    return {"spiffe_id": str(found), "trust_domain": found.trust_domain.name, "path": found.path}


def _jwt(question: Order) -> Answer:
    """The library leaves it to the caller to find the bundle, so this does it by what the token says."""
    claims = jwt.decode(question["token"], options={"verify_signature": False})
    domain = SpiffeId(claims["sub"]).trust_domain
    bundle = JwtBundle.parse(domain, _data(question["keys"][domain.name]))
    return _token(JwtSvid.parse_and_validate(question["token"], bundle, set(question["audience"])))


def _token(svid: JwtSvid) -> Answer:
    return {
        "spiffe_id": str(svid.spiffe_id),
        "audience": sorted(svid.audience),
        "expires_at": svid.expiry,
        "hint": None,
        "token": svid.token,
    }


def _svid(question: Order) -> Answer:
    found = X509Svid.parse_raw(b"".join(map(_data, question["chain"])), _data(question["key"]))
    with tempfile.TemporaryDirectory() as folder:
        certificates, key = Path(folder, "certificates.pem"), Path(folder, "key.pem")
        found.save(str(certificates), str(key), Encoding.PEM)
        written = {"certificates_pem": certificates.read_text(), "key_pem": key.read_text()}
    return {"spiffe_id": str(found.spiffe_id), **written}


def _keys(question: Order) -> Answer:
    return {
        "jwt": _authorities(
            JwtBundle.parse(TrustDomain(question["trust_domain"]), _data(question["document"]))
        )
    }


def _authorities(bundle: JwtBundle) -> Answer:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return {kid: _text(key.public_bytes(*form)) for kid, key in bundle.jwt_authorities.items()}


def _anchors(question: Order) -> Answer:
    bundle = X509Bundle.parse_raw(TrustDomain(question["trust_domain"]), _data(question["document"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bundle.pem")
        bundle.save(str(path), Encoding.PEM)
        written = path.read_text()
    found = [_text(each.public_bytes(Encoding.DER)) for each in bundle.x509_authorities]
    return {"x509": found, "certificates_pem": written}


def _sign(question: Order) -> Answer:
    key = load_der_private_key(_data(question["key"]), None)
    header = {"kid": question["kid"]}
    token = jwt.encode(
        dict(question["claims"]),
        key,  # type: ignore[arg-type] # each kind that a test gives it signs
        question["alg"],
        header,
    )
    return {"token": token}


_JUDGES: dict[str, Callable[[Order], Answer]] = {
    "id": _id,
    "jwt": _jwt,
    "svid": _svid,
    "keys": _keys,
    "anchors": _anchors,
    "sign": _sign,
}


def _verdict(question: Order) -> Answer:
    do = _JUDGES.get(question["what"])
    if do is None:
        return {"ok": False, "why": f"no question {question['what']!r}", "unknown": True}
    try:
        return {"ok": True, **do(question)}
    except Exception as error:  # noqa: BLE001 - whatever it was, it is a refusal
        return {"ok": False, "why": words(error)}


def _call(order: Order) -> Answer:
    audience = set(order.get("audience", ()))
    with WorkloadApiClient(f"unix://{order['socket']}", default_timeout=_PATIENCE) as client:
        match order["op"]:
            case "fetch":
                return describe(client.fetch_x509_context())
            case "tokens":
                wanted = SpiffeId(order["spiffe_id"]) if order.get("spiffe_id") else None
                return {"svids": [_token(each) for each in client.fetch_jwt_svids(audience, wanted)]}
            case "validate":
                return _token(client.validate_jwt_svid(order["token"], audience.pop()))
            case "token_keys":
                found = client.fetch_jwt_bundles().bundles
                return {"bundles": {each.trust_domain.name: _authorities(each) for each in found}}
            case other:
                raise ValueError(f"no operation {other!r}")


def main() -> None:
    """Obey until standard input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["op"] == "judge":
                answer: Answer = {"verdicts": [_verdict(each) for each in order["questions"]]}
            else:
                answer = _call(order)
        except Exception as error:  # noqa: BLE001 - it goes to the test
            answer = {"error": words(error), "code": status_code(error)}
        print(json.dumps(answer | {"id": order["id"]}), flush=True)


if __name__ == "__main__":
    main()
