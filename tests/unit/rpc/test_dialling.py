"""Connections that cannot be made, and what is said of them."""

from __future__ import annotations

import socket

import pytest

from finial.rpc import Channel, RpcError, Tcp
from support.rpc import run


def test_a_refused_connection_is_told_in_the_systems_words() -> None:
    async def main() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = Tcp("127.0.0.1", free.getsockname()[1])
        async with Channel(address) as channel:
            with pytest.raises(RpcError, match=f"cannot connect to {address}: Connection refused"):
                await channel.connect()
        async with Channel(Tcp("no-such-host.invalid", 1)) as channel:
            with pytest.raises(RpcError, match="cannot connect to no-such-host.invalid:1: .*[Nn]ame"):
                await channel.connect()

    run(main())
