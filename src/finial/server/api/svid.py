"""What the three parts of the SVID service have in common, each of which serves one kind of SVID."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final

from finial.core.entry import RegistrationEntry
from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.clock import Clock
from finial.server.api.chain import Caller
from finial.server.api.replies import invalid
from finial.server.index.index import Index
from finial.server.signing import Turns
from finial.wire import registry
from finial.wire.gen import spire_api_types as types

MOST_BYTES: Final = 2 << 20
"""Of a request for many signatures. Agents ask for 500; one for a key of 4,096 bits has some 1,500 bytes."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What each kind of SVID stands on.

    Args:
        index: Says what an agent is authorised for.
        turns: Where agents wait for signatures.
        clock: Judges entries.
    """

    index: Index
    turns: Turns
    clock: Clock

    def entry(self, caller: Caller, entry_id: str) -> RegistrationEntry:
        """An entry for which an agent may have SVIDs now. To be asked for each: it may be deleted meanwhile.

        Args:
            caller: The agent.
            entry_id: Which entry.

        Raises:
            RpcError: NOT_FOUND, there is no such entry, or it is not for this agent.
            EntryError: What is stored is no entry.
        """
        now = self.clock.now().timestamp()
        record = self.index.authorized_entry(caller.agent_id.text, entry_id, now)
        if record is None:
            raise RpcError(StatusCode.NOT_FOUND, "entry not found or not authorized")
        return _decoded(record.data)

    def workload(self, message: types.SPIFFEID, *, given: bool) -> SpiffeID:
        """Whom an operator wants a token for.

        Args:
            message: The field that says it.
            given: Whether the request has the field.

        Raises:
            RpcError: INVALID_ARGUMENT, it is no workload of the trust domain.
        """
        if not given:
            raise invalid("invalid SPIFFE ID: request must specify SPIFFE ID")
        try:
            spiffe_id = registry.read_id(message)
        except FinialError as error:
            raise invalid(f"invalid SPIFFE ID: {error}") from error
        self.check_workload(spiffe_id, "invalid SPIFFE ID")
        return spiffe_id

    def check_workload(self, spiffe_id: SpiffeID, what: str) -> None:
        """Return when an ID is that of a workload of the trust domain.

        Args:
            spiffe_id: The ID.
            what: What is wrong otherwise, the beginning of a message.

        Raises:
            RpcError: INVALID_ARGUMENT, it is not.
        """
        domain = self.index.trust_domain
        if not spiffe_id.member_of(domain):
            why = f'is not a member of trust domain "{domain}"'
        elif not spiffe_id.path:
            why = f'is not a workload in trust domain "{domain}"; path is empty'
        elif spiffe_id.reserved:
            why = f'is not a workload in trust domain "{domain}"; path is in the reserved namespace'
        else:
            return
        raise invalid(f'{what}: "{spiffe_id}" {why}')


@lru_cache(maxsize=1024)
def _decoded(data: bytes) -> RegistrationEntry:
    """An entry, decoded once for the many tokens that are asked for with one audience after the other."""
    return registry.decode_entry(data)


def wished(seconds: int, default: timedelta) -> timedelta:
    """The lifetime that an operator asks for.

    Args:
        seconds: Of the request; 0 leaves it to the server.
        default: The server's.

    Raises:
        RpcError: INVALID_ARGUMENT, it is negative.
    """
    if seconds < 0:
        raise invalid("ttl is negative")
    return timedelta(seconds=seconds) or default
