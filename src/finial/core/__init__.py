"""SPIFFE itself, pure: values in, values out or an error; no I/O, clock, event loop, logging or protobuf."""
