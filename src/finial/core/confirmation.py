"""The claim cnf: the public key that a token is bound to (RFC 7800), with the algorithm that it signs by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from finial.core import jwk
from finial.core.algorithms import Algorithm
from finial.core.errors import KeyRefusedError
from finial.core.keys import PublicKey

_ALGORITHMS = {algorithm.value: algorithm for algorithm in Algorithm}
_OTHER_KEYS = frozenset({"jwe", "jku"})


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the claim cnf comes to; whether it keeps the rules is for a table to say.

    Args:
        value: The claim, as it was read; anything.
    """

    value: object = field(repr=False)
    members: Mapping[str, object] | None = field(init=False, repr=False)  # of the key, if it is the only one
    algorithm: Algorithm | None = field(init=False)
    key: PublicKey | None = field(init=False)
    key_fault: str = field(init=False)

    def __post_init__(self) -> None:
        members = _only_key(self.value)
        named = None if members is None else members.get("alg")
        key, fault = _read(members)
        object.__setattr__(self, "members", members)
        object.__setattr__(self, "algorithm", _ALGORITHMS.get(named) if isinstance(named, str) else None)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "key_fault", fault)


def write(key: PublicKey, algorithm: Algorithm) -> dict[str, object]:
    """The claim for a key. Clauses: WIT-13, WIT-14, WIT-55.

    Args:
        key: One that the algorithm goes with.
        algorithm: By which it signs.
    """
    return {"jwk": {**jwk.write_public(key), "alg": algorithm.value}}


def _only_key(value: object) -> Mapping[str, object] | None:
    # spec: RFC 7800 3.1, of the members that hold a key there is one.
    if not isinstance(value, Mapping) or _OTHER_KEYS & value.keys():
        return None
    members = value.get("jwk")
    return members if isinstance(members, Mapping) else None


def _read(members: Mapping[str, object] | None) -> tuple[PublicKey | None, str]:
    # A key that should never have been sent is not even looked at.
    if members is None or jwk.PRIVATE_MEMBERS & members.keys():
        return None, ""
    try:
        return jwk.read_public(members), ""
    except KeyRefusedError as refused:
        return None, refused.message
