"""The authority that a server signs by: its two slots, their journal, signing, and taking turns."""
