"""How a JWT-SVID travels: as a bearer token, in the field Authorization of HTTP or the metadata of gRPC."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from finial.core.errors import CarriageError, TokenParseError
from finial.core.jwtsvid import JWTSVID
from finial.core.reasons import carriage as reasons

AUTHORIZATION: Final = "authorization"
"""The field, as HTTP/2 and the metadata of gRPC have it; its case does not matter in HTTP/1.1."""

# spec: RFC 6750 2.1, with the scheme in any case; what can stand in a token of three parts
_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9_.-]+)")


def write_bearer(token: str) -> str:
    """The value of the field for a token. Clauses: JWT-31, JWT-32, WIT-39, WIT-40.

    Args:
        token: A JWT-SVID in compact form.

    Raises:
        CarriageError: It is none, such as a WIT-SVID, which never travels so; or what could end the field.
    """
    try:
        JWTSVID(token)
    except TokenParseError as refused:
        message = f"what was given is no JWT-SVID: {refused}"
        raise CarriageError.because(reasons.FIELD_BEARER, message) from refused
    return f"Bearer {token}"


def read_bearer(fields: Iterable[tuple[str, str]]) -> str:
    """The token that a request carries; nothing but the field Authorization is looked at.

    Args:
        fields: Names and values, as they came; of gRPC the metadata. spec: JWT-31, JWT-32

    Raises:
        CarriageError: There is no such field, or several, or one of another scheme.
    """
    values = [value for name, value in fields if name.lower() == AUTHORIZATION]
    if len(values) != 1:
        message = f"the request has {len(values)} fields Authorization, not one"
        raise CarriageError.because(reasons.FIELD_BEARER, message)
    match = _BEARER.fullmatch(values[0].strip(" "))
    if match is None:
        message = "the field Authorization is not of the scheme Bearer, or has no token"
        raise CarriageError.because(reasons.FIELD_BEARER, message)
    return match[1]
