"""Package (none)."""

from finial.wire.package import names

__getattr__ = names(globals(), "")
