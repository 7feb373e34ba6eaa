"""The agent of a node: proves the node, learns its entries, and tells processes who they are."""
