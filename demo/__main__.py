"""Run the demonstration: `python -m demo`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from demo.cast import cast_for
from demo.screen import Screen
from demo.stage import Stage, StoryError
from demo.story import Story
from finial.runtime.clock import SystemClock

_FAILED, _INTERRUPTED = 1, 130

_OPENING = """
Finial gives programs identities. None of them carries a secret for that: a program asks, and the
kernel says who it is that asks. What you see now are real processes: servers, agents and small
programs, each started for you and ended again. It takes half a minute."""

_SUMMARY = """
What you have seen:
  - a trust domain born with its first authority, and a machine that joined it by a token
  - two programs that were told who they are, and proved it to each other by mTLS
  - a token that counted at the service it was made for, and at no other
  - a program without an entry, and one from a foreign trust domain, refused and told why
  - a change and a deletion that reached a running program by themselves
  - certificates replaced under a live connection
"""


async def _main(screen: Screen) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    clock = SystemClock()
    begun = clock.monotonic()
    screen.tell(_OPENING)
    try:
        async with Stage() as stage:
            try:
                await Story(stage, screen, cast_for(stage.folder)).tell()
            except StoryError as error:
                seen = f"\nSeen instead: {error.evidence}" if error.evidence else ""
                screen.bad(f"FAILED: {error}{seen}\n\n{stage.evidence()}")
                return _FAILED
            except asyncio.CancelledError:
                screen.bad("Interrupted: ending every process.")
                raise
    except asyncio.CancelledError:
        return _INTERRUPTED
    for line in _SUMMARY.splitlines():
        screen.plain(line)
    screen.plain(
        f"Every process has ended and every file is gone. It took {clock.monotonic() - begun:.0f} s."
    )
    return 0


def main() -> int:
    """Tell the story; the exit code says whether all of it happened."""
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return asyncio.run(_main(Screen(colour=colour)))


if __name__ == "__main__":
    sys.exit(main())
