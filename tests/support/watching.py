"""A source that watches a fake Workload API."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from finial.core.errors import FinialError, X509VerifyError
from finial.core.x509path import verify_x509
from finial.rpc import RpcError, StatusCode
from finial.sdk import WorkloadClient, X509Source
from finial.wire.gen import workload as pb
from support import forge
from support.clock import FixedChance, ManualClock, settle
from support.fake_workload import (
    ROOT_B,
    TODAY,
    FakeWorkloadAPI,
    fresh_leaf,
    one_svid,
    serving,
    svids,
)

LEAF = fresh_leaf()
GOOD = svids(one_svid(LEAF))
B_ID = "spiffe://b.test"
DENIED = RpcError(StatusCode.PERMISSION_DENIED, "no identity issued")
FOREIGN = fresh_leaf(ROOT_B, "spiffe://b.test/peer")


@dataclasses.dataclass
class Watch:
    """A source that watches a fake Workload API, and what it was told."""

    api: FakeWorkloadAPI
    source: X509Source
    clock: ManualClock
    problems: list[FinialError]

    async def push(self, *messages: pb.X509SVIDResponse | RpcError | None) -> None:
        """Send them; returns when the last has changed the source."""
        change = asyncio.ensure_future(self.source.updated())
        await settle()
        for message in messages:
            self.api.push(message)
        await change


@asynccontextmanager
async def watching(*answers: pb.X509SVIDResponse | RpcError | None) -> AsyncIterator[Watch]:
    api, clock, problems = FakeWorkloadAPI(list(answers)), ManualClock(), list[FinialError]()
    async with (
        serving(api) as address,
        WorkloadClient(address, clock=clock, chance=FixedChance(1.0)) as client,
        X509Source(client, report=problems.append) as source,
    ):
        yield Watch(api, source, clock, problems)


def accepts(source: X509Source, leaf: forge.Made) -> bool:
    try:
        verify_x509([leaf.der], source, now=TODAY)
    except X509VerifyError:
        return False
    return True
