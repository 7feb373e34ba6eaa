"""Finial's main job on real processes, told so that it can be followed: `make demo`."""
