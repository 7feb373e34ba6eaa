"""Package spire.api.types."""

from finial.wire.package import names

__getattr__ = names(globals(), "spire.api.types")
