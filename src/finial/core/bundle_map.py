"""The SPIFFE bundle map: one JSON object with the bundles of several trust domains, each under its name.

A map is read whole or not at all, and what is read is the state of the world at that time: it takes the place
of the map before, so that a trust domain which is not in it is not trusted any more (BUNDLE-41). An entry of
one of its bundles that is broken is passed over in that bundle, as in a document of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from finial.core.bundle import Bundle, BundleSet
from finial.core.bundle_doc import MAX_DEPTH, bundle_in, document_of
from finial.core.errors import BundleError, Finding, SpiffeIDError, shown
from finial.core.ids import TrustDomain
from finial.core.reasons import bundle as reasons
from finial.core.rules.bundle import HINT_NAMES, MAP
from finial.core.rules.engine import Stage
from finial.core.strictjson import ObjectReader

MAX_MAP_BYTES = 16 << 20

_READER = ObjectReader(
    what="the bundle map",
    most_bytes=MAX_MAP_BYTES,
    most_depth=MAX_DEPTH + 2,
    error=BundleError,
    large=reasons.BUNDLE_LARGE,
    malformed=reasons.BUNDLE_JSON,
    duplicate=reasons.MAP_DUPLICATE_KEY,
)


@dataclass(frozen=True, slots=True)
class ReadBundleMap:
    """What was in a map.

    Args:
        bundles: Every bundle under its name, none with a refresh hint: a map is looked at again at its own
            interval, whatever a bundle in it says. spec: BUNDLE-39
        skipped: What the standard says to pass over, refresh hints among it.
        broken: Entries that claim to be usable and are not; worth telling the publisher.
    """

    bundles: BundleSet
    skipped: tuple[Finding, ...] = ()
    broken: tuple[Finding, ...] = ()

    @property
    def sequences(self) -> Mapping[TrustDomain, int]:
        """How new each bundle is: those of a map may differ in it. Clauses: BUNDLE-42."""
        return MappingProxyType({domain: bundle.sequence for domain, bundle in self.bundles.items()})


def read_bundle_map(data: bytes) -> ReadBundleMap:
    """The bundles that a map holds.

    Args:
        data: JSON in UTF-8 without a byte order mark, at most 16 MiB.

    Raises:
        BundleError: It is no map, a name in it is no trust domain's or stands twice, or one of its bundles is
            none. Clauses: BUNDLE-33..BUNDLE-37, BUNDLE-41, BUNDLE-47.
    """
    document = _READER.read(data)
    failing = MAP.findings(document, Stage.PARSE)
    if failing:
        raise BundleError(failing)
    held = document["trust_domains"]
    reading = _Reading()
    for name, value in held.items() if isinstance(held, dict) else ():
        reading.read(name, value)
    if reading.failing:
        raise BundleError(reading.failing)
    return ReadBundleMap(BundleSet(reading.bundles), tuple(reading.skipped), tuple(reading.broken))


def write_bundle_map(bundles: BundleSet) -> bytes:
    """The map of some bundles, sorted by name, none with a refresh hint. Clauses: BUNDLE-32..BUNDLE-38.

    Args:
        bundles: Those that whoever gets the map may know of. spec: BUNDLE-40
    """
    members = {
        domain.name: document_of(replace(bundle, refresh_hint=None))
        for domain, bundle in sorted(bundles.items())
    }
    return json.dumps({"trust_domains": members}, indent=4).encode("ascii")


class _Reading:
    """Collects what the members of `trust_domains` come to."""

    def __init__(self) -> None:
        self.bundles: list[Bundle] = []
        self.failing: list[Finding] = []
        self.skipped: list[Finding] = []
        self.broken: list[Finding] = []

    def read(self, name: str, value: object) -> None:
        where = f"trust_domains[{shown(name)}]"
        try:
            domain = TrustDomain(name)
        except SpiffeIDError as refused:
            self.failing.append(Finding(reasons.MAP_NAME, refused.message, where))
            return
        if not isinstance(value, dict):
            self.failing.append(Finding(reasons.MAP_BUNDLE, "the bundle is not an object", where))
            return
        hints = [hint for hint in HINT_NAMES if hint in value]
        self.skipped += [Finding(reasons.MAP_HINT, f"{hint} is of no effect here", where) for hint in hints]
        try:
            read = bundle_in(domain, {key: each for key, each in value.items() if key not in hints})
        except BundleError as refused:
            self.failing += _inside(refused.findings, where)
            return
        self.bundles.append(read.bundle)
        self.skipped += _inside(read.skipped, where)
        self.broken += _inside(read.broken, where)


def _inside(findings: Iterable[Finding], where: str) -> list[Finding]:
    return [replace(each, where=f"{where}.{each.where}" if each.where else where) for each in findings]
