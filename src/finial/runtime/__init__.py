"""What each process needs around the core: the clock, the peer of a socket, TLS contexts."""
