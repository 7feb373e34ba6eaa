"""Package google.rpc."""

from finial.wire.package import names

__getattr__ = names(globals(), "google.rpc")
