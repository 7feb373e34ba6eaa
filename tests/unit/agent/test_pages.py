"""What a page of the server's push says of bundles."""

from __future__ import annotations

import logging

import pytest

from finial.agent.pages import read_held_bundle
from finial.core.ids import TrustDomain
from finial.wire.bundles import bundle_message
from finial.wire.gen import spire_api_types as types
from support import forge


@pytest.mark.parametrize("domain", [forge.A, forge.B])
def test_a_key_that_is_passed_over_is_told_and_takes_nothing_along(
    domain: TrustDomain, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = forge.bundle(domain, forge.root("root", domain))
    message = bundle_message(bundle)
    message.jwt_authorities.append(types.JWTKey(key_id="odd", public_key=b"none"))
    with caplog.at_level(logging.WARNING, "finial.agent"):
        held = read_held_bundle(message, forge.A)
    assert (held.name, held.bundle) == (domain.name, bundle)
    (record,) = caplog.records
    assert record.getMessage() == "a key in a bundle is passed over"
