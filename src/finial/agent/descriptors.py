"""File descriptors: how many the agent may have, and how many callers that is enough for."""

from __future__ import annotations

import resource

_PER_CALLER = 3  # its socket, its pidfd, and the handle on its folder in /proc
_OWN = 128  # for everything else
_AT_LEAST = 8


def raise_limit() -> int:
    """Take as many descriptors as the system grants without asking; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):
            pass  # what there is has to do
    return soft


def callers_for(descriptors: int) -> int:
    """How many connections of callers so many descriptors are enough for."""
    return max((descriptors - _OWN) // _PER_CALLER, _AT_LEAST)
