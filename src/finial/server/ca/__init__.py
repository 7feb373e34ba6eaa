"""The authorities that a server signs by: two slots for each kind, their journals, signing, taking turns."""
