"""Slots and their authorities for tests of server/ca."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache

from finial.core.ids import TrustDomain
from finial.core.token_authority import TokenAuthority
from finial.core.x509_profile import CARequest, Order, issue_root
from finial.core.x509cert import Certificate
from finial.server.ca.slots import Slot, SlotName, Status
from support import forge
from support.clock import START

DOMAIN = TrustDomain("a.test")
DAY = timedelta(days=1)


@cache
def root(name: str, begin: datetime = START, ttl: timedelta = DAY) -> Certificate:
    """The authority of this name; its key is `forge.key(name)`. The same one each time."""
    key = forge.key(name)
    request = CARequest(trust_domain=DOMAIN, public_key=key.public_key())
    return issue_root(request, Order(now=begin, serial=7, ttl=ttl), key=key)


def token_key(name: str, begin: datetime = START, ttl: timedelta = DAY) -> TokenAuthority:
    """The authority for tokens of this name; its key is `forge.key(name)`."""
    return TokenAuthority(key_id=name, key=forge.key(name).public_key(), expires_at=begin + ttl)


def token_slot(
    name: str, status: Status, begin: datetime = START, *, ttl: timedelta = DAY
) -> Slot[TokenAuthority]:
    """The same as `slot` with a key for tokens."""
    return Slot(
        name=SlotName(name),
        status=status,
        key_id=f"key-{name.lower()}",
        authority=token_key(name.lower(), begin, ttl),
        prepared_at=begin,
        activated_at=None if status is Status.PREPARED else begin,
    )


def slot(name: str, status: Status, begin: datetime = START, *, ttl: timedelta = DAY) -> Slot[Certificate]:
    """A slot whose authority was prepared at `begin`, and activated then too unless it is only prepared."""
    return Slot(
        name=SlotName(name),
        status=status,
        key_id=f"key-{name.lower()}",
        authority=root(name, begin, ttl),
        prepared_at=begin,
        activated_at=None if status is Status.PREPARED else begin,
    )
