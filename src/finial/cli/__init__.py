"""The command line: `finial server ...` and `finial agent ...`."""
