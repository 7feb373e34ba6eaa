"""What the server knows, in memory: every question on the path of an agent is answered from here."""
