"""What else has to hold for a disagreement to be of a class, by the name that the tables use."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509

from differential.kinds import Case, data
from finial.core import base64url
from finial.core.x509path import MAX_PATHS

Predicate = Callable[[Case, str], bool]

_MEMBERS = frozenset(
    {
        "keys", "spiffe_sequence", "spiffe_refresh_hint", "use", "kty", "kid", "crv", "alg", "k", "x", "y",
        "n", "e", "d", "p", "q", "dp", "dq", "qi", "x5c", "x5u", "x5t", "x5t#S256",
    }
)  # fmt: skip
_FOLDED = {name.casefold() for name in _MEMBERS}


def _text(case: Case) -> str:
    return data(case.question["document"]).decode("utf-8", "replace")


def always(case: Case, part: str) -> bool:
    """Nothing else."""
    return True


def folded(case: Case, part: str) -> bool:
    """A member is named as one that is known, but for the case of its letters."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or any(name not in _MEMBERS and name.casefold() in _FOLDED for name, _ in pairs)
        return dict(pairs)

    json.loads(_text(case), object_pairs_hook=look)
    return found


def null_sequence(case: Case, part: str) -> bool:
    """The sequence number is null."""
    return json.loads(_text(case)).get("spiffe_sequence", 0) is None


def _passed_over(reason: str) -> Predicate:
    """The differing key is that of an entry that we passed over for a reason."""

    def look(case: Case, part: str) -> bool:
        kid = part.partition(" ")[2]
        places = (re.search(rf"^{reason}: keys\[(\d+)\]", why) for why in case.ours.why)
        entries = json.loads(_text(case))["keys"]
        return any(entries[int(place[1])].get("kid") == kid for place in places if place)

    return look


def passed_over_certificate(case: Case, part: str) -> bool:
    """We passed over a certificate."""
    return any(why.startswith("bundle-entry-certificate: ") for why in case.ours.why)


def constrains_directories(case: Case, part: str) -> bool:
    """A signing certificate of the chain has a constraint on directory names."""
    extensions = (
        extension.value
        for der in case.question["chain"][1:]
        for extension in x509.load_der_x509_certificate(data(der)).extensions
    )
    trees = (
        (each.permitted_subtrees, each.excluded_subtrees)
        for each in extensions
        if isinstance(each, x509.NameConstraints)
    )
    return any(isinstance(name, x509.DirectoryName) for pair in trees for tree in pair for name in tree or ())


def many_ways(case: Case, part: str) -> bool:
    """There are more ways by name from the leaf to an anchor than we go."""
    try:
        chain = [_names(data(each)) for each in dict.fromkeys(case.question["chain"])]
    except ValueError:
        return False  # a name that cannot be read leads nowhere
    anchors = [_names(data(each)) for own in case.question["anchors"].values() for each in own]

    def ways(path: tuple[int, ...]) -> int:
        issuer = chain[path[-1]][1]
        found = sum(subject == issuer for subject, _ in anchors)
        for at, (subject, _) in enumerate(chain[1:], 1):
            if subject == issuer and at not in path and found <= MAX_PATHS:
                found += ways((*path, at))
        return found

    return ways((0,)) > MAX_PATHS


def _names(der: bytes) -> tuple[x509.Name, x509.Name]:
    certificate = x509.load_der_x509_certificate(der)
    return certificate.subject, certificate.issuer


def _header_has(*names: str) -> Predicate:
    """The header has one of these parameters."""

    def look(case: Case, part: str) -> bool:
        head = case.question["token"].strip().partition(".")[0]
        header = json.loads(base64url.decode(head.rstrip("=")))
        return any(name in header for name in names)

    return look


PREDICATES: Mapping[str, Predicate] = {
    "always": always,
    "folded": folded,
    "null_sequence": null_sequence,
    "passed_over_key": _passed_over("bundle-entry-key"),
    "passed_over_kty": _passed_over("bundle-entry-kty"),
    "passed_over_private": _passed_over("bundle-entry-private"),
    "passed_over_key_id": _passed_over("bundle-entry-key-id"),
    "passed_over_certificate": passed_over_certificate,
    "constrains_directories": constrains_directories,
    "many_ways": many_ways,
    "odd_header": _header_has("jwk", "x5c", "x5u", "cty", "nonce", "b64", "crit"),
    "b64_header": _header_has("b64"),
}
"""By name."""
