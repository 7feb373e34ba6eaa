"""The server's truth in SQL: the only rooms that know it."""
