"""The server's gRPC services, one file each, and the chain that stands before all of them."""
