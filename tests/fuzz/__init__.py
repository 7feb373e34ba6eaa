"""Fuzzing: seeded, resumable, with a bound on time per byte. Run it as `python -m fuzz --help`."""
