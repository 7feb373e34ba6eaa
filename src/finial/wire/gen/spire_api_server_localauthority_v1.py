"""Package spire.api.server.localauthority.v1."""

from finial.wire.package import names

__getattr__ = names(globals(), "spire.api.server.localauthority.v1")
