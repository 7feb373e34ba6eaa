"""JWT-SVIDs of entries of the trust domain a.test, as the agent's cache gets them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from finial.agent.encode import jwt_svid
from finial.agent.entry import AuthorizedEntry
from finial.agent.jwtcache import HeldJWT, JWTCache, Proven, Wanted
from finial.core.bundle import Bundle
from finial.core.jwtsvid import JWTSVID
from finial.core.token_authority import TokenAuthority
from support import tokens
from support.forge import NOW, A

K1, K2 = tokens.authority("k1")[0], tokens.authority("k2")[0]
OWN = Bundle(trust_domain=A, jwt_authorities=(K1,))
LIFE = timedelta(minutes=5)


def token(
    entry: AuthorizedEntry, *audience: str, now: datetime = NOW, life: timedelta = LIFE, **more: Any
) -> JWTSVID:
    begin = int(now.timestamp())
    end = begin + int(life.total_seconds())
    return JWTSVID(tokens.jwt(sub=entry.spiffe_id.text, aud=audience, iat=begin, exp=end, **more))


def proven(
    wanted: Wanted,
    *,
    authority: TokenAuthority = K1,
    now: datetime = NOW,
    life: timedelta = LIFE,
    **more: Any,
) -> Proven:
    svid = token(wanted.entry, *wanted.asked, now=now, life=life, kid=authority.key_id, **more)
    return Proven(svid, jwt_svid(wanted.entry, svid.token), authority)


def hold(
    cache: JWTCache, entry: AuthorizedEntry, *audience: str, caller: int = 1, now: datetime = NOW, **how: Any
) -> HeldJWT:
    """Have the cache take a token for an entry; audience `a` when none is given."""
    wanted = Wanted(entry, audience or ("a",))
    fresh = proven(wanted, now=now, **how)
    return cache.put(wanted, fresh, now=now, spread=0.5, caller=caller)
