"""DNS names as they may stand in an entry and in a certificate."""

from __future__ import annotations

import re
from collections.abc import Iterable

from finial.core.errors import shown

MAX_NAME_CHARACTERS = 253
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def fault(name: str) -> str:
    """What is wrong with a DNS name, one line; empty when it may be used.

    Labels are ASCII letters, digits, hyphens and underscores; the first one, and no other, may be an asterisk
    when more follow. A label that begins like an international one (`xn--`) is not decoded.
    """
    labels = name.split(".")
    if labels[0] == "*" and len(labels) > 1:
        labels = labels[1:]
    if len(name) > MAX_NAME_CHARACTERS:
        return f"DNS name of {len(name)} characters, at most {MAX_NAME_CHARACTERS} are allowed"
    bad = next((label for label in labels if not _LABEL.fullmatch(label)), None)
    return "" if bad is None else f"DNS name {shown(name)} has the label {shown(bad)}"


def faults(names: Iterable[str]) -> list[str]:
    """One line for each name that may not be used."""
    return [message for name in names if (message := fault(name))]
