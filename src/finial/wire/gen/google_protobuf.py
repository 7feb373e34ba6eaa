"""Package google.protobuf."""

from finial.wire.package import names

__getattr__ = names(globals(), "google.protobuf")
