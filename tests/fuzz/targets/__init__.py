"""One file per fuzz target; each defines `TARGET`."""
