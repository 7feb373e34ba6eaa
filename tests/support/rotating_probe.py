"""A workload that keeps an SVID of before, and tries whether anybody still believes it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from finial.core.x509svid import X509SVID
from finial.runtime.clock import SystemClock
from finial.sdk import ExactID, SpiffeID, X509Source, client_context
from support.rotating_workloads import PROBE, Workload
from support.site import TRUST_DOMAIN, ServerDaemon

_PATIENCE = 20.0  # seconds, for a bundle to be with everybody, and for a connection
_PAUSE = timedelta(milliseconds=200)
_AT_ONCE = 5
_ALIAS = PROBE.removeprefix(f"spiffe://{TRUST_DOMAIN}")


async def register(server: ServerDaemon, node: str) -> None:
    """An entry that makes this process the probe, on a node."""
    selectors = [f"unix:path:{os.path.realpath(sys.executable)}", f"unix:uid:{os.getuid()}"]
    await server.control.create(server.control.entry(_ALIAS, parent=node, selectors=selectors))


def source(socket: Path) -> X509Source:
    """What the probe has from an agent; to be entered."""
    return X509Source(address=f"unix://{socket}")


def authorities(held: X509Source) -> list[str]:
    """The key ids of the authorities that are trusted by what an agent has sent."""
    bundle = held.bundle_for(SpiffeID(PROBE).trust_domain)
    found = [] if bundle is None else [each.subject_key_id for each in bundle.x509_authorities]
    return [each.hex() for each in found if each is not None]


@dataclass(frozen=True)
class Probe:
    """Asks workloads whether they accept an SVID.

    Args:
        trusted: Has the bundles that it verifies workloads with.
        svid: What it shows.
    """

    trusted: X509Source
    svid: X509SVID

    async def accepted(self, workload: Workload) -> bool:
        """Whether a workload serves whoever shows this SVID."""
        context = client_context(self.svid, self.trusted, ExactID(SpiffeID(workload.id)))
        host, _, port = workload.targets[PROBE].rpartition(":")
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
            try:
                writer.write(b"probe\n")
                line = await reader.readline()  # the word of the server comes after the handshake
            except OSError:  # its alert, or a reset after it
                return False
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
        return line == f"{PROBE} probe\n".encode()

    async def everywhere(self, workloads: Sequence[Workload], *, accepted: bool) -> None:
        """Wait until every workload accepts this SVID, or until none does."""
        gate, clock = asyncio.Semaphore(_AT_ONCE), SystemClock()

        async def one(workload: Workload) -> None:
            deadline = clock.monotonic() + _PATIENCE
            while True:
                async with gate:
                    found = await self.accepted(workload)
                if found == accepted:
                    return
                assert clock.monotonic() < deadline, f"{workload.id} accepts the probe: {found}"
                await clock.sleep(_PAUSE)

        await asyncio.gather(*map(one, workloads))
