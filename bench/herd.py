"""The workloads of `bench.rotation`: processes of as many users, each with an open FetchX509SVID stream.

Each prints a line of JSON for every message that it gets: its number, when that was by `time.perf_counter`,
and the key id of the authority that signed its first SVID. They end with this program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path

from bench.watch import Watch
from finial.core import der
from finial.core.errors import FinialError, Kind, Reason
from finial.core.x509cert import Certificate
from finial.rpc import Channel, Unix
from finial.wire.gen import workload

_NO_CHAIN = Reason("bench-svid", Kind.INVALID)


def _authority(svid: workload.X509SVID) -> str:
    leaf = next(der.split(svid.x509_svid, lambda text: FinialError(_NO_CHAIN, text)))
    key_id = Certificate.parse(leaf, "leaf").authority_key_id
    return "" if key_id is None else key_id.hex()


async def _watch(socket: Path, number: int, leash: int) -> None:
    def tell(at: float, message: workload.X509SVIDResponse) -> None:
        told = {"number": number, "at": at, "authority": _authority(message.svids[0])}
        # One write of less than a page, so that lines of many processes do not mix.
        os.write(sys.stdout.fileno(), json.dumps(told).encode() + b"\n")

    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(leash, ended.set)
    async with Watch(socket, tell):
        await ended.wait()


def _warm_up() -> None:
    """Load everything: the processes may not be able to read it as other users, and share it like this."""

    async def once() -> None:
        channel = Channel(Unix("/nowhere"))
        await channel.close()

    asyncio.run(once())
    workload.X509SVIDResponse()
    workload.SpiffeWorkloadAPI.FetchX509SVID.decode_reply(b"")
    time.perf_counter()


def main() -> None:
    """Be all of them until this program is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--users", required=True, help="their numbers, FIRST-LAST")
    options = parser.parse_args()
    first, _, last = options.users.partition("-")
    _warm_up()
    leash, kept = os.pipe()
    children = []
    for number, user in enumerate(range(int(first), int(last) + 1)):
        child = os.fork()
        if child == 0:
            os.close(kept)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            asyncio.run(_watch(options.socket, number, leash))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
