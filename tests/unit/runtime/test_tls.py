from __future__ import annotations

import logging
import ssl

import pytest

from finial.core.x509cert import Certificate
from finial.runtime.tls import client_context
from support.certs import Authority, beyond_openssl


def test_an_authority_that_openssl_cannot_read_keeps_nobody_else_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    good, odd = Authority("example.org"), beyond_openssl(Authority("example.org").der)
    assert Certificate.parse(odd).spiffe_id is not None  # we read it
    with pytest.raises(ssl.SSLError):
        ssl.create_default_context().load_verify_locations(cadata=odd)
    with caplog.at_level(logging.WARNING, "finial.tls"):
        context = client_context([odd, good.der])
    assert context.get_ca_certs(binary_form=True) == [good.der]
    assert "OpenSSL cannot read an authority" in caplog.text
