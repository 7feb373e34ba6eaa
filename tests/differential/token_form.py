"""How generated tokens are written: mostly as they should be."""

from __future__ import annotations

import base64
import json
import random  # noqa: TID251 - seeded
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from finial.core.algorithms import Algorithm, algorithm_of, sign
from finial.core.keys import PrivateKey
from fuzz.mutate import mutated
from support import forge

Members = dict[str, Any]

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def written(source: random.Random, header: Members, claims: Members, key: PrivateKey) -> str:
    head, body = _json(source, header), _json(source, claims)
    data = f"{_part(head)}.{_part(body)}".encode()
    named = str(header.get("alg"))
    algorithm = algorithm_of(key)
    if named in set(Algorithm) and named[:2] == "PS" and algorithm == Algorithm.RS256:
        algorithm = Algorithm(named)
    signature = sign(key, algorithm, data)
    if source.random() < 0.05:
        signature = _bad_signature(source, signature, key, data)
    return f"{data.decode()}.{_part(signature)}"


def _bad_signature(source: random.Random, signature: bytes, key: PrivateKey, data: bytes) -> bytes:
    options = [
        b"",
        signature[:-1],
        signature + b"\0",
        forge.flipped(signature, len(signature) // 2),
        bytes(len(signature)),
    ]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        options.append(key.sign(data, ec.ECDSA(hashes.SHA256())))  # in DER
        options.append(sign(forge.key("thief", "ec-p256"), Algorithm.ES256, data))
    return source.choice(options)


def _json(source: random.Random, members: Members) -> bytes:
    text = json.dumps(members)
    if source.random() < 0.1:
        first = next(iter(members), "x")
        again = json.dumps(members.get(first))
        text = source.choice(
            (
                f'{text[:-1]},"{first}":{again}}}',
                f'{{"{first}":"other",{text[1:]}',
                f'{text[:-1]},"{first.upper()}":"x"}}',
                f'{text[:-1]},"deep":{"[" * 40}{"]" * 40}}}',
                f'{text[:-1]},"deep":{"[" * 20000}{"]" * 20000}}}' if source.random() < 0.1 else f" {text} ",
                f'{text[:-1]},"big":1e400}}',
                f'{text[:-1]},"nan":NaN}}',
                f'{text[:-1]},"half":"\\ud800"}}',
                f'{text[:-1]},"long":"{"x" * 40000}"}}',
                f"\ufeff{text}",
                f"{text}{{}}",
                f"[{text}]",
                '"text"',
                "null",
                "",
            )
        )
    return text.encode()


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def disturbed(source: random.Random, token: str) -> str:
    """Most tokens as they are, and some that are not written as they should be."""
    form = source.random()
    if form < 0.8:
        return token
    if form < 0.88:
        return mutated(source, [token.encode()]).decode("ascii", "replace").replace("\ufffd", "?")
    head, body, signature = token.split(".")
    loose = _ALPHABET[(_ALPHABET.index(signature[-1]) + 1) % 64] if signature else "A"
    again = f"{token[:-1]}{loose}"
    flattened = json.dumps({"protected": head, "payload": body, "signature": signature})
    return source.choice(
        (
            f"{token}=", f"{token}==", f"{head}=.{body}.{signature}", f" {token}", f"{token}\n",
            f"{head}.{body}", f"{token}.", f"{token}.x", f".{body}.{signature}", f"{head}..{signature}",
            f"{head}.{body}.", "", "..", token.replace("-", "+").replace("_", "/"), again, again, again,
            flattened, f"{head}\n.{body}.{signature}", f"{token}\u00e9",
            f"{head}.{body}.{signature[:10]}\n{signature[10:]}",
        )
    )  # fmt: skip
