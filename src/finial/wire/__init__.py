"""Protobuf messages and what is served with them: the only layer that knows protobuf."""
