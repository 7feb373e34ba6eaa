"""Package grpc.reflection.v1."""

from finial.wire.package import names

__getattr__ = names(globals(), "grpc.reflection.v1")
