"""What messages of the WIT profile say: FetchWITSVID and FetchWITBundles. Incubating."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from finial.core import jwk
from finial.core.errors import Finding, KeyRefusedError, Kind, Reason, RefusedError, shown
from finial.core.ids import SpiffeID
from finial.core.keys import PrivateKey
from finial.core.reasons import keys as key_reasons
from finial.core.rules.bundle import WIT_USE
from finial.core.strictjson import ObjectReader
from finial.core.witsvid import WITSVID
from finial.core.wpt import DEFAULT_PROOF_TTL, ProofScope, make_proof
from finial.sdk.keysets import KeySets
from finial.sdk.response import AGENT_HINT, EMPTY, Answer, Hints, ResponseError, filled
from finial.sdk.tokenbundles import WITBundles
from finial.wire.gen import workload as pb

WIT: Final = Reason("workload-response-wit", Kind.INVALID, ("WAPI-57", "WAPI-59"), AGENT_HINT)
_KEY: Final = Reason("workload-response-wit-key", Kind.INVALID, ("WAPI-59",), AGENT_HINT)

_KEY_READER: Final = ObjectReader(
    what="the key",
    most_bytes=64 << 10,
    most_depth=4,
    error=KeyRefusedError,
    large=_KEY,
    malformed=_KEY,
    duplicate=_KEY,
)


@dataclass(frozen=True, slots=True)
class WITIdentity:
    """A WIT-SVID with the private key that it is bound to.

    The token is shown together with a proof that is made for the one request, and never alone.

    Args:
        svid: The token, and what it says.
        private_key: Left out of representation and comparison.

    Raises:
        KeyRefusedError: The key is not the one that the token is bound to.
    """

    svid: WITSVID
    private_key: PrivateKey = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.private_key.public_key() != self.svid.key:
            message = "the private key is not the one that the token is bound to"
            raise KeyRefusedError.because(key_reasons.KEY_MISMATCH, message)

    @property
    def id(self) -> SpiffeID:
        """Whom the token names."""
        return self.svid.id

    @property
    def hint(self) -> str:
        """What the operator calls it among several of one workload."""
        return self.svid.hint

    def prove(self, scope: ProofScope, *, now: datetime, jti: str, ttl: timedelta = DEFAULT_PROOF_TTL) -> str:
        """A proof, for one request, that the key is at hand. Clauses: WIT-38.

        Args:
            scope: The request.
            now: Aware, UTC.
            jti: 128 random bits or more, new for each proof: `secrets.token_urlsafe(16)`.
            ttl: A second to five minutes.

        Raises:
            IssueError: The token has expired, or `jti` or `ttl` is none.
        """
        return make_proof(self.svid, scope, key=self.private_key, now=now, jti=jti, ttl=ttl)


def read_wit_svids(message: pb.WITSVIDResponse, wanted: SpiffeID | None) -> Answer[tuple[WITIdentity, ...]]:
    """What FetchWITSVID sent. Clauses: WAPI-15..WAPI-17, WAPI-19, WAPI-57, WAPI-59, WAPI-79.

    Args:
        message: The message.
        wanted: The one identity that was asked for, if it was one.

    Raises:
        ResponseError: It breaks rules; `findings` lists them.
    """
    if not message.svids:
        raise ResponseError.because(EMPTY, "the message holds no SVID", where="svids")
    refused: list[Finding] = []
    passed: list[Finding] = []
    found: list[WITIdentity] = []
    hints = Hints(passed)
    for number, each in enumerate(message.svids):
        where = f"svids[{number}]"
        identity = _read_identity(each, where, refused)
        if identity is None:
            continue
        if wanted is not None and identity.id != wanted:
            refused.append(Finding(WIT, f"the SVID is of {identity.id}, and {wanted} was asked for", where))
        if hints.fresh(identity.hint, where):
            found.append(identity)
    if refused:
        raise ResponseError([*refused, *passed])
    return Answer(tuple(found), tuple(passed))


def read_wit_bundles(message: pb.WITBundlesResponse) -> Answer[WITBundles]:
    """What FetchWITBundles sent. Clauses: WAPI-15..WAPI-17, WAPI-19, WAPI-63, WAPI-65.

    Raises:
        ResponseError: It breaks rules; `findings` lists them.
    """
    reader = KeySets(WIT_USE)
    bundles = reader.read({key: text.encode() for key, text in message.bundles.items()})
    return Answer(WITBundles(bundles), tuple(reader.passed))


def write_key(identity: WITIdentity) -> str:
    """The private key as a JWK, as the agent sends it; whoever calls this shows a secret."""
    key = identity.private_key
    assert not isinstance(key, Ed25519PrivateKey)  # no token is bound to one
    return json.dumps({**jwk.write_private(key), "alg": identity.svid.key_algorithm.value})


def _read_identity(message: pb.WITSVID, where: str, refused: list[Finding]) -> WITIdentity | None:
    mandatory = {
        "spiffe_id": message.spiffe_id,
        "wit_svid": message.wit_svid,
        "wit_svid_key": message.wit_svid_key,
    }
    if not filled(mandatory, where, refused):
        return None
    try:
        svid = WITSVID.parse(message.wit_svid, hint=message.hint)
        key = jwk.read_private(_KEY_READER.read(message.wit_svid_key.encode()))
        identity = WITIdentity(svid, key)
    except RefusedError as error:
        refused.extend(Finding(WIT, str(found), where) for found in error.findings)
        return None
    if svid.id.text != message.spiffe_id:
        said = f"the SVID is of {svid.id}, and the message says {shown(message.spiffe_id)}"
        refused.append(Finding(WIT, said, where))
        return None
    return identity
