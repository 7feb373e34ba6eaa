"""The claims of a token as a message has them: what a workload is told is what the token says."""

from __future__ import annotations

import json
import math
import random  # noqa: TID251 - seeded

from finial.agent.api.claims import STANDARD, fill, shown_of
from finial.core.errors import TokenParseError
from finial.core.jwtsvid import JWTSVID
from finial.wire.gen.google_protobuf import Struct, Value
from finial.wire.methods import decoder
from finial.wire.structs import read_struct
from fuzz import compact
from fuzz.target import Target, refused_well
from support import forge, tokens

_HEADER = json.dumps({"alg": "ES256", "kid": "k1"}).encode()
_CLAIMS: compact.Object = {"sub": forge.WEB, "aud": [tokens.AUDIENCE], "exp": tokens.SECONDS}
_ALLOWED = frozenset({"x", "iss"})
_EXACT = 2**53
_decode = decoder(Struct)


def check(data: bytes) -> None:
    """What is an object is the payload of a token; anything else is a message as it comes from an agent."""
    if not data.lstrip().startswith(b"{"):
        _from_a_peer(data)
        return
    try:
        svid = JWTSVID(compact.token(compact.joined(_HEADER, data.replace(b"\x00", b" "))))
    except TokenParseError as refused:
        refused_well(refused)
        return
    for allowed in (None, frozenset[str](), _ALLOWED):
        told = shown_of(svid, allowed)
        message = Struct()
        fill(message, told)
        again = Struct.FromString(message.SerializeToString())
        assert read_struct(again) == _told(compact.thawed(told))
        assert allowed is None or told.keys() <= STANDARD | allowed
        assert told.keys() >= {"sub", "aud", "exp"}


def _told(value: object) -> object:
    """A value of JSON as doubles carry it: whole numbers are exact as far as a double can tell."""
    if isinstance(value, dict):
        return {name: _told(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_told(each) for each in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        number = float(value)
    except OverflowError:
        return str(value)
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _from_a_peer(data: bytes) -> None:
    try:
        message = _decode(data)
    except ValueError:
        return
    try:
        found = read_struct(message)
    except ValueError as refused:
        assert str(refused).isprintable()
        return
    written = json.dumps(found, allow_nan=False)
    assert json.loads(written) == found
    again = Struct()
    fill(again, found)
    assert read_struct(again) == found


def corpus() -> list[bytes]:
    claims: list[compact.Object] = [
        _CLAIMS,
        {**_CLAIMS, "aud": "reports", "x": {"a": [None, True, 1.5, "", {}, []]}, "iss": "i"},
        {**_CLAIMS, "n": [2**53, 2**53 + 1, -(2**63), 10**400, 1e-300, -0.0, 10**22]},
        {**_CLAIMS, "deep": [[[[[[[[[[[[[[1]]]]]]]]]]]]]]},
    ]
    message = Struct()
    fill(message, claims[1])
    odd = Struct()
    odd.fields["a"].number_value = math.nan
    missing = Struct()
    missing.fields["a"].CopyFrom(Value())
    messages = [each.SerializeToString(deterministic=True) for each in (message, odd, missing)]
    return [*(json.dumps(each).encode() for each in claims), *messages]


_NAMES = ("x", "iss", "a", "", "sub", "aud", "exp", "\u00e9")
_LEAVES: tuple[object, ...] = (
    None, True, False, 0, -1, 1.5, 1e300, -0.0, 2**53, 2**53 + 1, 2**63, 10**400, "", "x", "\U0001f600",
    "a\nb",
)  # fmt: skip


def generate(source: random.Random) -> bytes:
    if source.random() < 0.2:
        message = Struct()
        fill(message, {source.choice(_NAMES): _value(source, 3) for _ in range(2)})
        message.fields["y"].number_value = source.choice((math.inf, 1.5, -math.inf, 2.0**53, 1e300))
        return message.SerializeToString(deterministic=True)
    more = {
        source.choice(_NAMES): _value(source, source.choice((1, 3, 14))) for _ in range(source.randint(0, 4))
    }
    return json.dumps({**more, **_CLAIMS} if source.random() < 0.9 else {**_CLAIMS, **more}).encode()


def _value(source: random.Random, depth: int) -> object:
    chance = source.random()
    if depth and chance < 0.4:
        return {source.choice(_NAMES): _value(source, depth - 1) for _ in range(source.randint(0, 2))}
    if depth and chance < 0.7:
        return [_value(source, depth - 1) for _ in range(source.randint(0, 2))]
    return source.choice(_LEAVES)


_PARSER = ("finial.agent.api.claims", "finial.wire.structs")
TARGET = Target("claims", corpus, check, generate, modules=_PARSER)
