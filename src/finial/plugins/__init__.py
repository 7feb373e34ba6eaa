"""The plugins that are built in. None of them imports another, and nothing but the catalog loads them."""
