"""Key managers that are built in."""
