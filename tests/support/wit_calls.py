"""The calls of the WIT-SVID profile, as a workload makes them, on an agent that has opted in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from finial.core import jwk
from finial.core.bundle import BundleSet
from finial.core.revision import STANDARDS
from finial.core.witsvid import WITSVID, VerifiedWIT, validate_wit
from finial.core.wpt import ProofScope, make_proof
from finial.rpc import Channel
from finial.wire.gen import workload as pb
from support.agent_world import HEADER, ME, Agent, Stream, World, joined, world
from support.rpc import run

API = pb.SpiffeWorkloadAPI
SCOPE = ProofScope("https://reports.test/daily")


def on_wits(test: Callable[[World, Agent], Any]) -> Callable[[], None]:
    """Run a coroutine function as a test on a joined agent that has opted in, as has its server."""

    def tested() -> None:
        async def main() -> None:
            async with world() as w:
                w.server.add("e1", "/web", ME)
                w.server.wit.opt_in()
                async with joined(w, incubating_wit_svid=STANDARDS) as running:
                    await w.eventually(lambda: bool(w.server.batches))
                    await test(w, running)

        run(main())

    tested.__name__ = test.__name__
    return tested


@asynccontextmanager
async def opened(
    w: World, running: Agent, request: Any = None, method: Any = API.FetchWITSVID, metadata: Any = HEADER
) -> AsyncIterator[Stream]:
    """A workload's stream, FetchWITSVID by default."""
    async with Channel(running.socket) as channel, channel.call(method, metadata=metadata) as call:
        await call.send(pb.WITSVIDRequest() if request is None else request)
        await call.half_close()
        yield Stream(w, call)


def proven(w: World, svid: pb.WITSVID) -> VerifiedWIT:
    """What somebody finds who is shown the token, and a proof that was made with the key."""
    parsed, now = WITSVID(svid.wit_svid), w.clock.now()
    key = jwk.read_private(json.loads(svid.wit_svid_key))
    proof = make_proof(parsed, SCOPE, key=key, jti="1" * 32, now=now)
    found = validate_wit(svid.wit_svid, proof, BundleSet([w.server.bundle]), scope=SCOPE, now=now)
    assert found.id.text == svid.spiffe_id
    return found
