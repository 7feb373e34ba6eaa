"""The clause tables: each rule of a standard stands in one of them, once."""
