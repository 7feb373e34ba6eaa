"""`finial agent ...`: run an agent, and ask it for identities."""
