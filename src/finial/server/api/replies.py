"""What several services answer with: kept bytes, SVIDs, statuses of items."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, cast

from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.core.x509cert import Certificate
from finial.rpc.method import Method
from finial.rpc.status import RpcError, StatusCode
from finial.runtime.chance import Chance
from finial.server.api.chain import Caller
from finial.server.store import errors
from finial.server.store.errors import MissingError
from finial.wire import registry, statuses
from finial.wire.gen import spire_api_types as types

Request = TypeVar("Request")


def encoded(method: Method[Request, Any]) -> Method[Request, bytes]:
    """A method whose handler returns a reply that is encoded already."""
    return cast("Method[Request, bytes]", replace(method, encode_reply=bytes))


def invalid(message: str) -> RpcError:
    """INVALID_ARGUMENT."""
    return RpcError(StatusCode.INVALID_ARGUMENT, message)


def failure(error: FinialError, doing: str) -> types.Status:
    """The status of an item that an error ended.

    Args:
        error: What went wrong. What is not there, and what has a code of its own, is said without more words.
        doing: What failed (`failed to create entry`).
    """
    if isinstance(error, MissingError):
        return statuses.status(StatusCode.NOT_FOUND, error.message)
    if isinstance(error, RpcError):
        return statuses.status_of(error)
    if error.reason is errors.EXISTS:
        return statuses.status(StatusCode.ALREADY_EXISTS, f"{doing}: {error.message}")
    return statuses.status_of(error, doing)


def named(caller: Caller) -> str:
    """Who calls, for logs."""
    return caller.address if caller.id is None else caller.id.text


def svid(spiffe_id: SpiffeID, chain: Sequence[Certificate]) -> types.X509SVID:
    """An SVID that has been signed.

    Args:
        spiffe_id: Whose.
        chain: Leaf first, without the root.
    """
    return types.X509SVID(
        cert_chain=[certificate.der for certificate in chain],
        id=registry.id_message(spiffe_id),
        expires_at=int(chain[0].not_after.timestamp()),
    )


def unix(instant: datetime | None) -> int:
    """Unix seconds; 0 for none."""
    return 0 if instant is None else int(instant.timestamp())


def random_id(chance: Chance) -> str:
    """A random UUID, as entries and join tokens have that nobody named."""
    return str(uuid.UUID(bytes=chance.token(16), version=4))
