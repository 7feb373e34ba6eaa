"""Attestors of workloads: what the kernel and the platform say of a caller."""
