"""What an event has changed for workloads, and for those of which profile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from finial.agent.entry import AuthorizedEntry
from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain


class Profile(Enum):
    """A part of the Workload API, with SVIDs and bundles of its own kind. Clauses: WAPI-05."""

    X509 = "X.509-SVID"
    JWT = "JWT-SVID"
    WIT = "WIT-SVID"


EVERY_PROFILE: Final = frozenset(Profile)


@dataclass(frozen=True, slots=True)
class Change:
    """What an event has changed for workloads.

    Args:
        entries: Ids of entries that came, went, or have another X.509-SVID now, or whose signing has failed.
        came: Those among them that are new or say something else now.
        own_bundle: The profiles for which the own bundle is another.
        domains: Foreign trust domains whose bundles are others, with the profile for which they are.
    """

    entries: frozenset[str] = frozenset()
    came: tuple[AuthorizedEntry, ...] = ()
    own_bundle: frozenset[Profile] = frozenset()
    domains: frozenset[tuple[TrustDomain, Profile]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.entries or self.own_bundle or self.domains)


def merged(changes: Iterable[Change]) -> Change:
    """Several changes as one."""
    every = tuple(changes)
    return Change(
        frozenset().union(*(change.entries for change in every)),
        tuple(entry for change in every for entry in change.came),
        frozenset().union(*(change.own_bundle for change in every)),
        frozenset().union(*(change.domains for change in every)),
    )


def profiles_of_change(old: Bundle | None, new: Bundle | None) -> frozenset[Profile]:
    """The profiles for which a bundle of one trust domain is another.

    Args:
        old: As it was; None for none.
        new: As it is.
    """
    if old is None or new is None:
        return frozenset() if old is new else EVERY_PROFILE
    parts = {
        Profile.X509: old.x509_authorities == new.x509_authorities,
        Profile.JWT: old.jwt_authorities == new.jwt_authorities,
        Profile.WIT: old.wit_authorities == new.wit_authorities,
    }
    return frozenset(profile for profile, same in parts.items() if not same)
