"""Header fields that carry tokens, and the URIs of requests: one token, from one field, or a refusal."""

from __future__ import annotations

import random  # noqa: TID251 - seeded
import re
from urllib.parse import urlsplit

from finial.core import bearer, wit_http
from finial.core import target as uris
from finial.core.errors import CarriageError, TokenParseError
from finial.core.jwtsvid import JWTSVID
from finial.core.wit_http import ProofCarrier
from finial.core.witsvid import WITSVID
from fuzz import stock
from fuzz.target import Target, refused_well
from support import tokens

_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")
_WIT = WITSVID(stock.wit())
_PROOF = stock.proof(_WIT.token)


def check(data: bytes) -> None:
    """Each line is a field, its name before a colon; the first is the URI."""
    first, *lines = data.decode("latin-1").split("\n")
    fields = [(name, value) for name, _, value in (line.partition(":") for line in lines)]
    _uri(first)
    _bearer(fields)
    for carrier in ProofCarrier:
        _wit(fields, carrier)
    _written(lines[-1] if lines else first)


def _uri(text: str) -> None:
    try:
        found = uris.Target(text)
    except CarriageError as refused:
        refused_well(refused)
        # What stands before an @ may be a password.
        assert "@" not in str(refused).removeprefix("what has an @ in it")
        return
    other = urlsplit(text)
    assert found.secure == (other.scheme == "https")
    assert "@" not in other.netloc
    assert (other.hostname or "") in urlsplit(found.uri).netloc
    assert uris.Target(found.uri) == found
    assert not set(found.uri) & set("?#")
    try:
        uris.check_bearer_target(text)
    except CarriageError as refused:
        refused_well(refused)
        assert not (found.secure)
        assert not (found.loopback)
    else:
        assert found.secure or found.loopback


def _bearer(fields: list[tuple[str, str]]) -> None:
    values = [value for name, value in fields if name.lower() == "authorization"]
    try:
        token = bearer.read_bearer(fields)
    except CarriageError as refused:
        refused_well(refused, *values)
        return
    assert len(values) == 1
    assert _TOKEN.fullmatch(token)
    scheme, _, rest = values[0].strip(" ").partition(" ")
    assert scheme.lower() == "bearer"
    assert rest.strip(" ") == token


def _wit(fields: list[tuple[str, str]], carrier: ProofCarrier) -> None:
    try:
        found = wit_http.read_fields(fields, carrier)
    except CarriageError as refused:
        refused_well(refused, *(value for _, value in fields if "." in value))
        answer = wit_http.answer(refused, carrier)
        assert answer.status in {400, 401}
        assert not any(len(value) > 40 and value.encode() in answer.body for _, value in fields)
        return
    for token, name in ((found.token, "workload-identity-token"), (found.proof, carrier.value)):
        values = [value for given, value in fields if given.isascii() and given.lower() == name]
        assert len(values) == 1
        assert token in values[0]
        assert token.count(".") == 2
        assert _TOKEN.fullmatch(token)
    assert found.token not in repr(found)


def _written(proof: str) -> None:
    """What is written for a token is read again, and no token travels as another one."""
    for carrier in ProofCarrier:
        try:
            fields = wit_http.write_fields(_WIT, proof, carrier)
        except (CarriageError, TokenParseError) as refused:
            refused_well(refused, proof)
            continue
        found = wit_http.read_fields(fields, carrier)
        assert (found.token, found.proof) == (_WIT.token, proof)
    try:
        value = bearer.write_bearer(proof)
    except CarriageError as refused:
        refused_well(refused, proof)
    else:
        assert bearer.read_bearer([("AUTHORIZATION", value)]) == proof == JWTSVID(proof).token


def corpus() -> list[bytes]:
    token = "aaaa.bbbb.cccc"
    both = f"Workload-Identity-Token: {token}"
    texts = [
        f"{tokens.TARGET}\nAuthorization: Bearer {token}",
        f"http://localhost:80\n{both}\nAuthorization: WPT {token}",
        f"HTTPS://[::1]:443/a?b#c\n{both}\nworkload-proof-token:\t{token} ",
        f"http://127.0.0.1\n{both}\n{both}\nauthorization: wpt  {token}\n{_PROOF}",
        f"https://a.test:8443\n{stock.proof('x')}",
        f"https://a.test\nAuthorization: Bearer {stock.jwt()}\n{stock.jwt()}",
        f"https://a.test\n{_WIT.token}",
    ]
    return [text.encode("latin-1") for text in texts]


_URIS = (
    "https://a.test", "http://a.test/", "HTTPS://A.test:443/x?y#z", "http://localhost:8080", "http://[::1]/x",
    "http://127.0.0.2", "https://u:p@a.test", "ftp://a.test", "https:///x", "https://a.test:99999",
    "https://[zz]/", "http://127.1", "https://a.test/ x", "x" * 9000,
)  # fmt: skip
_FIELDS = ("Authorization", "authorization", "Workload-Identity-Token", "workload-proof-token", "cookie", "")
_SCHEMES = ("Bearer ", "bearer  ", "WPT ", "wpt ", "Basic ", "", " ", "\t", "Bearer")
_VALUES = (
    "aaaa.bbbb.cccc",
    "aaaa.bbbb.cccc",
    "aaaa.bbbb",
    "a.b.c.d",
    "a,b",
    "",
    "x=",
    "aaaa.bbbb.cccc ",
    "a b",
    "é.b.c",
)


def generate(source: random.Random) -> bytes:
    fields = [
        f"{source.choice(_FIELDS)}:{source.choice(_SCHEMES)}{source.choice(_VALUES)}"
        for _ in range(source.randint(0, 4))
    ]
    return "\n".join([source.choice(_URIS), *fields]).encode("latin-1")


_PARSER = ("finial.core.bearer", "finial.core.wit_http", "finial.core.target")
TARGET = Target("fields", corpus, check, generate, modules=_PARSER)
