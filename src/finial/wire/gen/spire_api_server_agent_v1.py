"""Package spire.api.server.agent.v1."""

from finial.wire.package import names

__getattr__ = names(globals(), "spire.api.server.agent.v1")
