"""A key manager that keeps its keys in memory; what it holds outlives the service that a test kills."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from finial.core.keys import KeyType, PrivateKey
from finial.plugin.keys import check_key_id
from support.strikes import Strikes


def new_key(key_type: KeyType) -> PrivateKey:
    match key_type:
        case KeyType.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.RSA_2048 | KeyType.RSA_4096:
            return rsa.generate_private_key(65537, int(key_type.removeprefix("rsa-")))


class MemoryKeyManager:
    def __init__(self) -> None:
        self.keys: dict[str, PrivateKey] = {}
        self.strikes = Strikes()

    async def generate(self, key_id: str, key_type: KeyType) -> PrivateKey:
        check_key_id(key_id)
        self.strikes("before generate")
        key = self.keys[key_id] = new_key(key_type)
        self.strikes("after generate")
        return key

    async def get(self, key_id: str) -> PrivateKey | None:
        check_key_id(key_id)
        self.strikes("before get")
        return self.keys.get(key_id)

    async def ids(self) -> frozenset[str]:
        self.strikes("before ids")
        return frozenset(self.keys)

    async def delete(self, key_id: str) -> None:
        check_key_id(key_id)
        self.strikes("before delete")
        self.keys.pop(key_id, None)
        self.strikes("after delete")
