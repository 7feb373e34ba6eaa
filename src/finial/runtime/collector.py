"""How often Python looks for rings of references that nobody holds any more."""

from __future__ import annotations

import gc
from typing import Final

_USUAL: Final = gc.get_threshold()
_RARELY: Final = 200_000  # objects more than at the last look; imports make about half of that


def rarely() -> None:
    """Look rarely: a process that starts makes many objects and hardly any garbage."""
    gc.set_threshold(_RARELY, *_USUAL[1:])


def usually() -> None:
    """Look as often as Python does, from now on."""
    gc.set_threshold(*_USUAL)


def keep() -> None:
    """Never look again at what is there already."""
    gc.freeze()
