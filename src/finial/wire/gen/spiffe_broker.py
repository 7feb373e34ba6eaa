"""Package spiffe.broker."""

from finial.wire.package import names

__getattr__ = names(globals(), "spiffe.broker")
