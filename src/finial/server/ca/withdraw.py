"""What becomes of the authorities of a kind that a server no longer signs SVIDs of.

Keys of a standard that others may not know yet are taken back: consumers that do not know it refuse the whole
bundle because of them. All others stay until they have ended, since SVIDs that are out would be refused.
"""

from __future__ import annotations

import logging
from typing import Protocol

from finial.plugin.keys import KeyManager
from finial.runtime.log import fields
from finial.server.ca.journal import Journal
from finial.server.ca.kinds import A, Kind, KindName
from finial.server.ca.rotate import key_prefix

_log = logging.getLogger("finial.server.ca")


class Withdrawing(Protocol):
    """The journal of one kind, as far as it is needed here."""

    async def withdraw(self) -> int:
        """In one transaction: empty the slots of this server, and take every authority of the kind out of
        the own bundle that is in no slot of another one; how many these were.

        Raises:
            FinialError: It was not done, or nobody knows whether it was.
        """


async def withdraw(kind: KindName, journal: Withdrawing, keys: KeyManager) -> None:
    """Leave nothing of a kind behind, neither in the bundle nor among the keys.

    It can be broken off anywhere, and is done again at the next start.

    Args:
        kind: Of the authorities.
        journal: Theirs.
        keys: Where their keys are.

    Raises:
        FinialError: It was not done, or nobody knows whether it was.
    """
    gone = await journal.withdraw()
    for key_id in sorted(await keys.ids()):
        if key_id.startswith(key_prefix(kind)):
            await keys.delete(key_id)
    if gone:
        _log.warning(
            "authorities have been taken out of the bundle: SVIDs of their kind are signed no more",
            extra=fields(kind=kind.value, authorities=gone),
        )


async def leave(kind: Kind[A], journal: Journal) -> None:
    """Say that what has been published of a kind stays where it is; it is pruned like all that has ended.

    The slots and the private keys stay as well, for a server that is told to sign again goes on with them.

    Args:
        kind: Of the authorities.
        journal: Theirs.

    Raises:
        FinialError: The journal cannot be read.
    """
    written = await journal.load()
    left = () if written.bundle is None else kind.published(written.bundle)
    if left:
        _log.info(
            "authorities stay in the bundle until they end, though SVIDs of their kind are signed no more",
            extra=fields(kind=kind.name.value, authorities=len(left)),
        )
