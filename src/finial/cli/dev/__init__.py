"""`finial dev`: a whole trust domain for a laptop, in one process."""
