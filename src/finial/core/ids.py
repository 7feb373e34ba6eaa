"""SPIFFE IDs and trust domains: values that cannot exist unless they are valid.

Upper case in the scheme or in the trust domain name is refused, never folded: one spelling, one identity.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from finial.core.errors import Finding, SpiffeIDError, shown
from finial.core.reasons import identity as reasons
from finial.core.rules import spiffe_id as rules
from finial.core.rules.engine import Stage
from finial.core.rules.spiffe_id import (
    MAX_ID_BYTES,
    MAX_TRUST_DOMAIN_BYTES,
    NAME_CHARACTERS,
    SCHEME,
    SEGMENT_CHARACTERS,
)

_NAME = re.compile(f"[{NAME_CHARACTERS}]{{1,{MAX_TRUST_DOMAIN_BYTES}}}")
_ID = re.compile(
    f"{SCHEME}(?P<name>[{NAME_CHARACTERS}]{{1,{MAX_TRUST_DOMAIN_BYTES}}})"
    rf"(?P<path>(?:/(?!\.\.?(?:/|\Z))[{SEGMENT_CHARACTERS}]+)*)"
)
_RESERVED = "/spire"


@dataclass(frozen=True, slots=True, eq=False)
class TrustDomain:
    """A namespace of identities with its own signing keys.

    Args:
        name: 1 to 255 of `a-z 0-9 . - _`; nothing is looked up, folded or trimmed.

    Raises:
        SpiffeIDError: The name breaks a rule. spec: ID-02, ID-09..ID-14, ID-28
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise _not_text(self.name)
        if not _NAME.fullmatch(self.name):
            found = rules.TABLE.findings(rules.of_name(self.name), Stage.PARSE)
            raise SpiffeIDError(found, subject=shown(self.name))

    @classmethod
    def from_name_or_id(cls, text: str) -> TrustDomain:
        """A trust domain written as people write it: its name, or its own ID (`spiffe://example.org`).

        Raises:
            SpiffeIDError: Neither, or an ID with a path.
        """
        if text.startswith(SCHEME):
            spiffe_id = SpiffeID(text)
            if spiffe_id.path:
                message = f"{shown(text)} has a path, which the ID of a trust domain has not"
                raise SpiffeIDError([Finding(reasons.ID_NOT_TRUST_DOMAIN, message)], subject=shown(text))
            return spiffe_id.trust_domain
        return cls(text)

    @property
    def id(self) -> SpiffeID:
        """The ID of the trust domain itself, which has no path."""
        return SpiffeID(SCHEME + self.name)

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if type(other) is TrustDomain else NotImplemented

    def __lt__(self, other: TrustDomain) -> bool:
        return self.name < other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class SpiffeID:
    """The name of a workload, or (without a path) of a trust domain.

    Args:
        text: The whole URI, at most 2048 bytes; kept byte for byte.

    Raises:
        SpiffeIDError: The text breaks a rule; `findings` lists all that it breaks. spec: ID-01..ID-30
    """

    text: str
    trust_domain: TrustDomain = field(init=False, repr=False)
    path: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = self.text
        if not isinstance(text, str):
            raise _not_text(text)
        match = _ID.fullmatch(text) if len(text) <= MAX_ID_BYTES else None
        if match is None:
            raise SpiffeIDError(rules.TABLE.findings(rules.cut(text), Stage.PARSE), subject=shown(text))
        name, path = match.groups()
        # The expression has judged the name already; judging it twice would double the cost.
        trust_domain = object.__new__(TrustDomain)
        object.__setattr__(trust_domain, "name", name)
        object.__setattr__(self, "trust_domain", trust_domain)
        object.__setattr__(self, "path", path)

    @classmethod
    def parse(cls, text: str) -> SpiffeID:
        """The ID that a text spells; the same as the constructor, for where the word reads better."""
        return cls(text)

    @classmethod
    def from_parts(cls, trust_domain: TrustDomain, *segments: str) -> SpiffeID:
        """The ID with these path segments, none of which may bring a slash of its own.

        Raises:
            SpiffeIDError: A segment is empty, a dot segment, or holds a character that is not allowed.
        """
        slashed = [segment for segment in segments if "/" in segment]
        if slashed:
            message = f"path segment {shown(slashed[0])} holds a slash"
            raise SpiffeIDError([Finding(reasons.ID_PATH_CHARACTERS, message)], subject=shown(slashed[0]))
        return cls("/".join([SCHEME + trust_domain.name, *segments]))

    @classmethod
    def from_path(cls, trust_domain: TrustDomain, path: str) -> SpiffeID:
        """The ID with this path, which is empty or begins with a slash.

        Raises:
            SpiffeIDError: The path breaks a rule, or lacks the slash.
        """
        if path and not path.startswith("/"):
            message = f"path {shown(path)} does not begin with a slash"
            raise SpiffeIDError([Finding(reasons.ID_PATH_SLASH, message)], subject=shown(path))
        return cls(f"{SCHEME}{trust_domain.name}{path}")

    def member_of(self, trust_domain: TrustDomain) -> bool:
        """Whether the ID is in this trust domain (the domain's own ID is)."""
        return self.trust_domain == trust_domain

    @property
    def reserved(self) -> bool:
        """Whether the path is `/spire` or below it, where servers and agents live."""
        return self.path == _RESERVED or self.path.startswith(f"{_RESERVED}/")

    def __eq__(self, other: object) -> bool:
        return self.text == other.text if type(other) is SpiffeID else NotImplemented

    def __lt__(self, other: SpiffeID) -> bool:
        return self.text < other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text


def _not_text(value: object) -> SpiffeIDError:
    message = f"expected text, not {type(value).__name__}"
    return SpiffeIDError([Finding(reasons.ID_NOT_TEXT, message)])


def server_id(trust_domain: TrustDomain) -> SpiffeID:
    """The ID that every server of a trust domain has."""
    return SpiffeID.from_parts(trust_domain, "spire", "server")


def is_agent_id(spiffe_id: SpiffeID) -> bool:
    """Whether the ID is one that node attestation gives."""
    return spiffe_id.path.startswith(f"{_RESERVED}/agent/")
