"""What the identities of `finial dev` need to know of the machine that it runs on."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from finial.core.errors import shown
from finial.core.ids import SpiffeID, TrustDomain
from finial.core.selectors import Selector

_UNIX = "unix"
_NOT_IN_PATHS = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has an account.

    Args:
        uid: The number.
        name: What the machine calls it; empty when it has no name.
    """

    uid: int
    name: str


class Machine(Protocol):
    """Answers about users and programs."""

    def me(self) -> User:
        """Whoever runs this process."""

    def user(self, name: str) -> Selector:
        """The selector of the processes of a user; ValueError when there is no such user."""

    def program(self, path: str) -> Selector:
        """The selector of the processes of a program; ValueError when there is no such program."""


class ThisMachine:
    """The machine that this process runs on."""

    def me(self) -> User:
        """Whoever runs this process."""
        uid = os.geteuid()
        try:
            return User(uid, pwd.getpwuid(uid).pw_name)
        except KeyError:
            return User(uid, "")

    def user(self, name: str) -> Selector:
        """The selector of the processes of a user.

        Raises:
            ValueError: There is no such user.
        """
        try:
            pwd.getpwnam(name)
        except KeyError:
            raise ValueError(f"there is no user {shown(name)} on this machine") from None
        return Selector(_UNIX, f"user:{name}")

    def program(self, path: str) -> Selector:
        """The selector of the processes of a program; the kernel knows it by its path without links.

        Raises:
            ValueError: There is no such program.
        """
        if not path.startswith("/"):
            raise ValueError(f"{shown(path)} does not begin with /")
        found = Path(path).resolve()
        if not found.is_file():
            raise ValueError(
                f"there is no file {shown(path)}; for one that comes later write selectors = "
                f'["unix:path:/..."] with its path without links'
            )
        return Selector(_UNIX, f"path:{found}")


def own_id(trust_domain: TrustDomain, user: User) -> SpiffeID:
    """The SPIFFE ID of a user's processes: the name, as far as it can stand in an ID, or the number.

    Args:
        trust_domain: Whose ID it is.
        user: Who.
    """
    name = _NOT_IN_PATHS.sub("-", user.name)
    if not name.strip(".") or name == "spire":  # no segments, and the path of servers and agents
        name = f"uid-{user.uid}"
    return SpiffeID.from_parts(trust_domain, name)


def own_selector(user: User) -> Selector:
    """The selector of a user's processes."""
    return Selector(_UNIX, f"uid:{user.uid}")
