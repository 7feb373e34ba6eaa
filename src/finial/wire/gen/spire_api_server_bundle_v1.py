"""Package spire.api.server.bundle.v1."""

from finial.wire.package import names

__getattr__ = names(globals(), "spire.api.server.bundle.v1")
