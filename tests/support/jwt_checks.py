"""The public function that validates JWT-SVIDs, asked what it makes of a token."""

from __future__ import annotations

from datetime import timedelta

import pytest

from finial.core.bundle import BundleSource
from finial.core.errors import TokenParseError, TokenVerifyError
from finial.core.jwtsvid import VerifiedJWT, validate_jwt
from support import tokens

SECOND = timedelta(seconds=1)
BUNDLES = tokens.bundles(tokens.authority()[0])


def validate(
    token: str, *audiences: str, bundles: BundleSource = BUNDLES, late: int = 0, leeway: int = 0
) -> VerifiedJWT:
    now = tokens.NOW + late * SECOND
    return validate_jwt(token, bundles, audiences or [tokens.AUDIENCE], now=now, leeway=leeway * SECOND)


def refusal(
    token: str, *audiences: str, bundles: BundleSource = BUNDLES, late: int = 0, leeway: int = 0
) -> str:
    """The reason for which it is refused."""
    with pytest.raises((TokenParseError, TokenVerifyError)) as caught:
        validate(token, *audiences, bundles=bundles, late=late, leeway=leeway)
    return caught.value.reason.id
