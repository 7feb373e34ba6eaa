"""The server: the authority of a trust domain, its registry, and the services that hand both out."""
