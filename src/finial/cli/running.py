"""Running a server or an agent in the foreground, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from finial.cli.show import note
from finial.runtime import collector
from finial.runtime.config import Settings, load

S = TypeVar("S", bound=Settings)


def settings_of(cls: type[S], config: Path | None, options: Mapping[str, object]) -> S:
    """The settings that a command line and a file give; warnings go to standard error.

    Args:
        cls: Made by `settings`.
        config: The file.
        options: By the names of the fields.

    Raises:
        FinialError: Something is wrong with them.
    """
    loaded = load(cls, file=config, options=options)
    for warning in loaded.warnings:
        note(f"warning: {warning}")
    return loaded.settings


def run_until_signal(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run a process's main coroutine; SIGINT and SIGTERM set the event that ends it in order.

    Args:
        main: Takes the event, and returns soon after it is set.

    Raises:
        KeyboardInterrupt: A second signal came; the coroutine was cancelled.
    """

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def end() -> None:
            if stop.is_set():
                task.cancel()
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end)
        await main(stop)

    collector.keep()  # what has been imported stays, and what goes on has garbage
    collector.usually()
    try:
        asyncio.run(run())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
