"""Package grpc.health.v1."""

from finial.wire.package import names

__getattr__ = names(globals(), "grpc.health.v1")
