"""What can be extended: one Protocol per kind of plugin, the catalog that finds them, guards around them."""
