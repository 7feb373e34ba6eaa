"""Who signs tokens for the targets that validate: keys of two trust domains, right ones and others.

One byte of an input makes one choice among a row; the first of each row is the sound one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from finial.core.algorithms import Algorithm, algorithm_of
from finial.core.bundle import Bundle, BundleSet
from finial.core.ids import TrustDomain
from finial.core.keys import PrivateKey
from finial.core.token_authority import TokenAuthority
from finial.core.token_trust import MAX_KEYS_TRIED
from fuzz import stock
from support import forge

KINDS = {
    "k1": "ec-p256",
    "w1": "ec-p256",
    "k2": "ec-p384",
    "b1": "ec-p256",
    "r1": "rsa-2048",
    "no": "ec-p521",
}
ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "PS256", "none", "HS256", "")
NINE = frozenset(algorithm.value for algorithm in Algorithm)
SUBJECTS: tuple[Any, ...] = (
    forge.WEB, "spiffe://b.test/web", "spiffe://a.test", "spiffe://c.test/x", "spiffe://A.test/web", ..., 7,
    "spiffe://many.test/x", "spiffe://none.test/x",
)  # fmt: skip
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@cache
def key(kid: str) -> PrivateKey:
    """The private key of an id."""
    return stock.key(f"token {kid}", KINDS[kid])


@cache
def bundles() -> BundleSet:
    """Two domains whose keys share ids where it would hurt, one of too many keys, and one of none."""
    a = Bundle(
        trust_domain=forge.A,
        jwt_authorities=tuple(stock.token_authority(kid, KINDS[kid]) for kid in ("k1", "k2", "r1")),
        wit_authorities=(stock.token_authority("w1"), stock.token_authority("w2")),
    )
    b1 = stock.token_authority("b1")
    disguised = TokenAuthority(key_id="k1", key=b1.key)
    b = Bundle(trust_domain=forge.B, jwt_authorities=(b1, disguised), wit_authorities=())
    crowd = tuple(stock.token_authority(f"m{number}") for number in range(MAX_KEYS_TRIED))
    k1 = stock.token_authority("k1")
    many = Bundle(trust_domain=TrustDomain("many.test"), jwt_authorities=(k1, *crowd))
    return BundleSet([a, b, many, Bundle(trust_domain=TrustDomain("none.test"))])


@dataclass(frozen=True)
class Signature:
    """A token that somebody signed.

    Args:
        by: The id of the key.
        header: What it says of itself.
        claims: What it says.
    """

    by: str
    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def algorithm(self) -> Algorithm:
        """How it is signed, whatever the header says."""
        rsa = KINDS.get(self.by) == "rsa-2048"
        return Algorithm.PS256 if rsa and self.header.get("alg") == "PS256" else algorithm_of(self.key)

    @property
    def key(self) -> PrivateKey:
        """Whose it is; an id that is none is the name of a workload's key."""
        return key(self.by) if self.by in KINDS else stock.key(self.by)

    def token(self) -> str:
        """The token."""
        return stock.signed(self.header, self.claims, self.key, self.algorithm)


def chosen(row: tuple[Any, ...], byte: int) -> Any:
    """What a byte chooses."""
    return row[byte % len(row)]


def spliced(one: str, other: str, parts: int) -> str:
    """A token, of which some parts are those of another one."""
    pairs = zip(one.split("."), other.split("."), strict=True)
    return ".".join(theirs if parts >> at & 1 else mine for at, (mine, theirs) in enumerate(pairs))


def damaged(token: str, harm: bytes) -> str:
    """A token to which each pair of bytes does something at a place.

    Args:
        token: Any.
        harm: A place, then what is put there: a character, another bit of the one there, nothing, a dot, or
            padding.
    """
    for place, kind in zip(harm[::2], harm[1::2], strict=False):
        at = place * len(token) // 256
        if kind < 64:
            put = _ALPHABET[kind]
        elif kind < 128 and token[at : at + 1] in _ALPHABET:
            put = _ALPHABET[_ALPHABET.index(token[at]) ^ 1 << kind % 6]
        else:
            put = ("", ".", "=", f"{token[at : at + 1]}A")[kind % 4]
        token = token[:at] + put + token[at + 1 :]
    return token


def said(token: str) -> str:
    """The part of a token that is signed."""
    return token.rpartition(".")[0]
