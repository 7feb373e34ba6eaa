"""`finial server ...`: run a server, and administer it over its socket."""
