"""Package grpc.reflection.v1alpha."""

from finial.wire.package import names

__getattr__ = names(globals(), "grpc.reflection.v1alpha")
