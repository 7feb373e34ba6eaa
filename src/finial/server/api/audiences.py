"""Whom JWT-SVIDs are for, made visible: whoever is shown one can show it to all others that it names.

Clauses: JWT-18, JWT-20, JWT-43.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Final

from finial.core.errors import SHOWN_CHARACTERS, shown
from finial.core.ids import SpiffeID
from finial.runtime.log import fields
from finial.runtime.metrics import Counter
from finial.server.api.replies import invalid

_log = logging.getLogger("finial.server")

MOST_AUDIENCES: Final = 1000
MOST_CHARACTERS: Final = 16_384
MOST_WRITTEN: Final = 20_000
"""In JSON some characters take six times as much, and a token that is read has no more than 32 KiB."""
MOST_TOLD: Final = 256
"""Of so many audiences the log tells, of each once; further ones are only counted."""

_SCHEME = "spiffe://"
_AROUND: Final = 3  # characters that each audience takes in a token besides its own
_ESCAPED: Final = 12  # that one character may take, as JSON is written
_MOST_NAMED = 4  # of the audiences of one token


def read_audience(values: Sequence[str]) -> tuple[str, ...]:
    """The audience that a request asks for: each value once, empty ones left out.

    Args:
        values: Of the request.

    Raises:
        RpcError: INVALID_ARGUMENT, nothing is left, or it is too much. Clauses: JWT-15.
    """
    # A message has room for more than any token, and for so much that others would have to wait.
    if len(values) > MOST_AUDIENCES or sum(map(len, values)) > MOST_CHARACTERS:
        raise invalid(
            f"at most {MOST_AUDIENCES} audiences of {MOST_CHARACTERS} characters in all are accepted"
        )
    audience = tuple(dict.fromkeys(filter(None, values)))
    if not audience:
        raise invalid("at least one audience is required")
    # Whoever signs would say that a limit is reached, for which agents leave a server in peace for a while:
    # one workload would keep all the others of its node waiting.
    least = sum(map(len, audience)) + _AROUND * len(audience)
    if least * _ESCAPED > MOST_WRITTEN and len(json.dumps(audience, separators=(",", ":"))) > MOST_WRITTEN:
        raise invalid(f"the audiences take more than {MOST_WRITTEN} characters in a token")
    return audience


def brief(audience: tuple[str, ...]) -> str:
    """An audience for the log."""
    more = len(audience) - _MOST_NAMED
    named = ", ".join(value[:SHOWN_CHARACTERS] for value in audience[:_MOST_NAMED])
    return f"{named} and {more} more" if more > 0 else named


class AudienceWatch:
    """Counts tokens that are good for more than one service, and tells of them.

    Args:
        several: Counts those for more than one audience.
        wide: Counts those for a whole trust domain.
        refuse_wide: Whether there are to be none for a whole trust domain.
    """

    def __init__(self, several: Counter, wide: Counter, *, refuse_wide: bool) -> None:
        self._several = several
        self._wide = wide
        self._refuse_wide = refuse_wide
        self._told: set[int] = set()  # hashes: audiences may be long

    def look(self, audience: tuple[str, ...], spiffe_id: SpiffeID) -> None:
        """Take note of a token that is about to be signed.

        Args:
            audience: Its audience.
            spiffe_id: Whose it is.

        Raises:
            RpcError: INVALID_ARGUMENT, it would be for a whole trust domain, and there are to be none.
        """
        wide = [value for value in audience if _is_wide(value)]
        if wide and self._refuse_wide:
            message = f"the audience {shown(wide[0])} is a whole trust domain; name the service that is meant"
            raise invalid(message)
        if len(audience) > 1:
            self._several.inc()
            self._tell_of_several(audience, spiffe_id)
        for value in wide:
            self._wide.inc()
            self._tell_of_wide(value, spiffe_id)

    def _tell_of_several(self, audience: tuple[str, ...], spiffe_id: SpiffeID) -> None:
        if self._first(audience):
            _log.info(
                "JWT-SVID for several audiences, each of which can show it to the others",
                extra=fields(id=spiffe_id, audience=brief(audience)),
            )

    def _tell_of_wide(self, value: str, spiffe_id: SpiffeID) -> None:
        if self._first(value):
            _log.warning(
                "JWT-SVID for a whole trust domain, whose every service can show it to all others",
                extra=fields(
                    id=spiffe_id, audience=brief((value,)), next_step="Name the service that is meant."
                ),
            )

    def _first(self, what: object) -> bool:
        key = hash(what)
        if key in self._told or len(self._told) >= MOST_TOLD:
            return False
        self._told.add(key)
        return True


def _is_wide(value: str) -> bool:
    """Whether it is the ID of a trust domain, however it is written."""
    scheme, rest = value[: len(_SCHEME)], value[len(_SCHEME) :]
    return scheme.lower() == _SCHEME and "/" not in rest.rstrip("/")
