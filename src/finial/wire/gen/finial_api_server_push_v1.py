"""Package finial.api.server.push.v1."""

from finial.wire.package import names

__getattr__ = names(globals(), "finial.api.server.push.v1")
