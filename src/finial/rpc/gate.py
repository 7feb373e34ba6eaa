"""Whom a listener lets in, and a line in the log about those whom it does not."""

from __future__ import annotations

import asyncio
import logging

from finial.rpc.limits import Limits

_log = logging.getLogger("finial.rpc")

_PERIOD_SECONDS = 1.0  # whoever is refused asks again at once; one line for all of them is enough


class Gate:
    """The places of one listener, and who has them.

    Args:
        limits: How many there are.
    """

    __slots__ = ("_handshakes", "_last", "_limits", "_open", "_refused", "_sites", "_timer")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open = 0
        self._handshakes = 0
        self._sites: dict[str, int] = {}
        self._refused = 0
        self._last = ""
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, who: str, site: str | None) -> bool:
        """Give a new connection its place; False when there is none.

        Args:
            who: For the log.
            site: Whom it counts for; None for a local peer, of whom all count alike.
        """
        full = self._full(site)
        if full:
            self._refuse(f"{who}: {full}")
            return False
        self._open += 1
        self._handshakes += 1
        if site is not None:
            self._sites[site] = self._sites.get(site, 0) + 1
        return True

    def _full(self, site: str | None) -> str:
        limits = self._limits
        if site is not None and self._sites.get(site, 0) >= limits.max_connections_per_address:
            return f"{site} has {limits.max_connections_per_address} already"
        if self._open >= limits.max_connections:
            return f"{limits.max_connections} are open already"
        if self._handshakes >= limits.max_handshakes:
            return f"{limits.max_handshakes} are still in their handshake"
        return ""

    def shaken(self) -> None:
        """A connection has finished its handshake, or has gone before."""
        self._handshakes -= 1

    def leave(self, site: str | None) -> None:
        """A connection that was let in has gone."""
        self._open -= 1
        if site is not None:
            left = self._sites.pop(site) - 1
            if left:
                self._sites[site] = left

    def _refuse(self, last: str) -> None:
        self._refused += 1
        self._last = last
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PERIOD_SECONDS, self.report)

    def report(self) -> None:
        """Tell the log now of those refused since it was last told."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            _log.warning("closed new connections at once: %d, the last from %s", self._refused, self._last)
            self._refused = 0
