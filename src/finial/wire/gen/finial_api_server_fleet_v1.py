"""Package finial.api.server.fleet.v1."""

from finial.wire.package import names

__getattr__ = names(globals(), "finial.api.server.fleet.v1")
