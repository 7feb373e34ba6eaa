"""Makes authorities for tokens, and tokens, good and bad, without the code that is under test."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from finial.core import jwk
from finial.core.algorithms import Algorithm, algorithm_of, sign
from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import TrustDomain
from finial.core.keys import PrivateKey
from finial.core.token_authority import TokenAuthority
from support import forge

NOW = forge.NOW
SECONDS = int(NOW.timestamp())
AUDIENCE = "reports"
TARGET = "https://reports.test/daily"


def authority(kid: str = "k1", kind: str = "ec-p256", **changes: Any) -> tuple[TokenAuthority, PrivateKey]:
    """A key for tokens, published and private; the same key for the same id and kind."""
    key = forge.key(f"token {kid}", kind)
    return TokenAuthority(key_id=kid, key=key.public_key(), **changes), key


def bundles(
    *jwt: TokenAuthority, wit: tuple[TokenAuthority, ...] = (), domain: TrustDomain = forge.A
) -> BundleSet:
    """One bundle with these keys."""
    return BundleSet([Bundle(trust_domain=domain, jwt_authorities=jwt, wit_authorities=wit)])


def text(part: object) -> str:
    """A part of a token: bytes as they are, anything else as JSON."""
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: object, payload: object, key: PrivateKey, algorithm: Algorithm | None = None) -> str:
    """A token of exactly this header and payload, whatever they are."""
    head = f"{text(header)}.{text(payload)}"
    return f"{head}.{text(sign(key, algorithm or algorithm_of(key), head.encode()))}"


def without(members: Mapping[str, object]) -> dict[str, object]:
    """The members except those whose value is `...`."""
    return {name: value for name, value in members.items() if value is not ...}


def jwt(
    *, kid: str = "k1", kind: str = "ec-p256", header: Mapping[str, object] | None = None, **claims: object
) -> str:
    """A sound JWT-SVID, except for the changes; `...` takes a member out."""
    algorithm = algorithm_of(authority(kid, kind)[1])
    head = {"alg": algorithm.value, "kid": kid, "typ": "JWT", **(header or {})}
    body = {"sub": forge.WEB, "aud": [AUDIENCE], "exp": SECONDS + 300, "iat": SECONDS, **claims}
    return signed(without(head), without(body), authority(kid, kind)[1])


def holder(kind: str = "ec-p256") -> PrivateKey:
    """The key that WIT-SVIDs made here are bound to."""
    return forge.key("token holder", kind)


def confirmation(kind: str = "ec-p256", **changes: object) -> dict[str, object]:
    """The claim cnf for that key, except for the changes in its jwk."""
    public = holder(kind).public_key()
    members = {**jwk.write_public(public), "alg": algorithm_of(public).value, **changes}
    return {"jwk": without(members)}


def wit(
    *, kid: str = "w1", kind: str = "ec-p256", header: Mapping[str, object] | None = None, **claims: object
) -> str:
    """A sound WIT-SVID, except for the changes; `...` takes a member out."""
    algorithm = algorithm_of(authority(kid, kind)[1])
    head = {"alg": algorithm.value, "kid": kid, "typ": "wit+jwt", **(header or {})}
    body = {"sub": forge.WEB, "exp": SECONDS + 3600, "cnf": confirmation(), **claims}
    return signed(without(head), without(body), authority(kid, kind)[1])


def proof(
    token: str,
    *,
    key: PrivateKey | None = None,
    header: Mapping[str, object] | None = None,
    algorithm: Algorithm | None = None,
    **claims: object,
) -> str:
    """A sound proof for a WIT-SVID and the target, except for the changes; `...` takes a member out."""
    key = key or holder()
    algorithm = algorithm or algorithm_of(key)
    head = {"alg": algorithm.value, "typ": "wpt+jwt", **(header or {})}
    body = {"aud": TARGET, "exp": SECONDS + 20, "jti": "one", "wth": digest(token), **claims}
    return signed(without(head), without(body), key, algorithm)


def digest(token: str) -> str:
    """The hash by which proofs name a token."""
    return text(hashlib.sha256(token.encode()).digest())


def decoded(token: str, part: int) -> bytes:
    """A part of a token, decoded."""
    return base64.urlsafe_b64decode(token.split(".")[part] + "==")
