"""What the store hands out and the index keeps: plain values, with the encoded form beside them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from finial.core.bundle import Bundle
from finial.core.selectors import Selector


class ChangeKind(StrEnum):
    """What a row of the change log is about."""

    ENTRY = "entry"
    NODE = "node"
    BUNDLE = "bundle"


class EntryRecord:
    """One registration entry: the few fields that are asked for, and its encoded form.

    There may be 100,000 of them, so nothing is decoded that is not needed, and there is no dictionary.

    Args:
        seq: Row number; rises with creation.
        id: Entry id.
        spiffe_id: Whole URI.
        parent_id: Whole URI.
        data: The entry as an encoded `types.Entry`, the fields that agents ask for first.
        masked: How many bytes of `data` hold those.
        revision: Revision number.
        created_at: Unix seconds.
        expires_at: Unix seconds; 0 for never.
        admin: Whether its holder may administer the server.
        downstream: Whether its holder may have signing certificates made.
        federates: Names of the foreign trust domains whose bundles its holders get.
    """

    __slots__ = (
        "admin", "created_at", "data", "downstream", "expires_at", "federates", "id", "masked", "parent_id",
        "revision", "seq", "spiffe_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        seq: int,
        id: str,  # noqa: A002 - the field's name in every API
        spiffe_id: str,
        parent_id: str,
        data: bytes,
        masked: int,
        revision: int,
        created_at: int,
        expires_at: int,
        admin: bool,
        downstream: bool,
        federates: tuple[str, ...] = (),
    ) -> None:
        self.seq = seq
        self.id = id
        self.spiffe_id = spiffe_id
        self.parent_id = parent_id
        self.data = data
        self.masked = masked
        self.revision = revision
        self.created_at = created_at
        self.expires_at = expires_at
        self.admin = admin
        self.downstream = downstream
        self.federates = federates

    def expired(self, now: float) -> bool:
        """Whether the entry has ended.

        Args:
            now: Unix seconds.
        """
        return self.expires_at != 0 and now >= self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One node that has attested.

    Args:
        seq: Row number; rises with first attestation.
        id: Agent ID, whole URI.
        attestation_type: Name of the attestor.
        serial: Decimal serial number of its current SVID; empty when banned.
        expires_at: When that SVID ends, Unix seconds.
        pending_serial: Of an SVID that was issued and not used yet; empty for none.
        pending_expires_at: When that one ends, Unix seconds.
        can_reattest: Whether it attests again instead of renewing.
        version: What the agent says of itself.
        selectors: What its attestor saw.
    """

    seq: int
    id: str
    attestation_type: str
    serial: str
    expires_at: int
    pending_serial: str = ""
    pending_expires_at: int = 0
    can_reattest: bool = False
    version: str = ""
    selectors: tuple[Selector, ...] = ()

    @property
    def banned(self) -> bool:
        """Whether it is kept out until its record is deleted."""
        return not self.serial


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleRecord:
    """The bundle of one trust domain, the own or a foreign one.

    Args:
        seq: Row number.
        bundle: What it says.
        data: The same as an encoded `types.Bundle`, with whatever the value cannot hold.
    """

    seq: int
    bundle: Bundle
    data: bytes


Record = EntryRecord | NodeRecord | BundleRecord


@dataclass(frozen=True, slots=True)
class Change:
    """One committed change, as the index takes it.

    Args:
        kind: What it is about.
        key: Entry id, agent ID or trust domain name.
        record: What is so now; None when it is gone.
        revision: For the log.
    """

    kind: ChangeKind
    key: str
    record: Record | None
    revision: int = 0
