"""How one bundle of a trust domain differs from another, and a bundle with the authorities of both.

Both ask for two bundles of one trust domain: nothing here, or elsewhere, pours two domains together. Clauses:
FED-15.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from finial.core.bundle import Bundle
from finial.core.errors import BundleError
from finial.core.ids import TrustDomain
from finial.core.keys import public_key_der
from finial.core.reasons import bundle as reasons
from finial.core.token_authority import TokenAuthority
from finial.core.x509cert import Certificate

_Authority = TypeVar("_Authority")
# Authorities by what tells them apart, each with what the bundle says of it besides.
_Marked = Mapping[object, tuple[_Authority, object]]


@dataclass(frozen=True, slots=True)
class Change(Generic[_Authority]):
    """What happened to the authorities of one kind.

    Args:
        came: Only in the newer bundle, in its order.
        went: Only in the older bundle, in its order.
    """

    came: tuple[_Authority, ...] = ()
    went: tuple[_Authority, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.came or self.went)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How a bundle of a trust domain differs from an older one; what is falsy differs in nothing.

    A key for tokens counts by its key id and its key. When only its end or its taint is another, it neither
    came nor went.

    Args:
        trust_domain: Whose both are.
        x509: The X.509 authorities.
        jwt: The JWT authorities.
        wit: The WIT authorities.
        marks: Whether taints, ends of keys or the refresh hint differ.
        sequence: The number of the older one, then that of the newer one.
    """

    trust_domain: TrustDomain
    x509: Change[Certificate]
    jwt: Change[TokenAuthority]
    wit: Change[TokenAuthority]
    marks: bool
    sequence: tuple[int, int]

    def __bool__(self) -> bool:
        old, new = self.sequence
        return bool(self.x509 or self.jwt or self.wit or self.marks or old != new)

    def __str__(self) -> str:
        """One line: `X.509 authorities +1 -1, sequence 4 to 5`; `nothing` when there is none."""
        return ", ".join(self._parts()) or "nothing"

    def _parts(self) -> Iterator[str]:
        kinds = (("X.509", self.x509), ("JWT", self.jwt), ("WIT", self.wit))
        for name, change in kinds:
            signs = [f" {sign}{len(side)}" for sign, side in (("+", change.came), ("-", change.went)) if side]
            if signs:
                yield f"{name} authorities{''.join(signs)}"
        if self.marks:
            yield "marks"
        old, new = self.sequence
        if old != new:
            yield f"sequence {old} to {new}"


def difference(old: Bundle, new: Bundle) -> Difference:
    """How a bundle differs from an older one of its trust domain.

    Raises:
        BundleError: They are of two trust domains.
    """
    _check_one_domain(old, new)
    x509, x509_marks = _changed(_certificates(old), _certificates(new))
    jwt, jwt_marks = _changed(_keys(old.jwt_authorities), _keys(new.jwt_authorities))
    wit, wit_marks = _changed(_keys(old.wit_authorities), _keys(new.wit_authorities))
    return Difference(
        trust_domain=new.trust_domain,
        x509=x509,
        jwt=jwt,
        wit=wit,
        marks=x509_marks or jwt_marks or wit_marks or old.refresh_hint != new.refresh_hint,
        sequence=(old.sequence, new.sequence),
    )


def merged(bundle: Bundle, more: Bundle) -> Bundle:
    """A bundle to which the authorities of another one of its trust domain are added.

    Number, hint and taints stay as they are, and so do keys that both have: whoever publishes the result
    raises the number when it is not the same.

    Args:
        bundle: What is added to.
        more: What is added; only its authorities count.

    Raises:
        BundleError: They are of two trust domains, or a key id of the one means another key in the other.
    """
    _check_one_domain(bundle, more)
    jwt = _added(bundle.jwt_authorities, more.jwt_authorities)
    wit = _added(bundle.wit_authorities, more.wit_authorities)
    x509 = (*bundle.x509_authorities, *more.x509_authorities)
    return replace(bundle, x509_authorities=x509, jwt_authorities=jwt, wit_authorities=wit)


def _check_one_domain(first: Bundle, second: Bundle) -> None:
    if first.trust_domain != second.trust_domain:
        message = f"one bundle is of trust domain {first.trust_domain}, the other of {second.trust_domain}"
        raise BundleError.because(reasons.BUNDLE_TWO_DOMAINS, message)


def _changed(old: _Marked[_Authority], new: _Marked[_Authority]) -> tuple[Change[_Authority], bool]:
    came = tuple(authority for key, (authority, _) in new.items() if key not in old)
    went = tuple(authority for key, (authority, _) in old.items() if key not in new)
    marks = any(old[key][1] != marks for key, (_, marks) in new.items() if key in old)
    return Change(came, went), marks


def _certificates(bundle: Bundle) -> _Marked[Certificate]:
    return {each: (each, each in bundle.tainted) for each in bundle.x509_authorities}


def _keys(authorities: Iterable[TokenAuthority]) -> _Marked[TokenAuthority]:
    return {_identity(each): (each, (each.expires_at, each.tainted)) for each in authorities}


def _added(
    authorities: tuple[TokenAuthority, ...], more: tuple[TokenAuthority, ...]
) -> tuple[TokenAuthority, ...]:
    there = frozenset(map(_identity, authorities))
    return (*authorities, *(each for each in more if _identity(each) not in there))


def _identity(authority: TokenAuthority) -> tuple[str, bytes]:
    return authority.key_id, public_key_der(authority.key)
