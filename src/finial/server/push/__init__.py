"""Push: each agent is told what it may serve, and told again when that changes."""
