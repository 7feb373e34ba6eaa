"""The Workload API, the profile of X.509-SVIDs: FetchX509SVID and FetchX509Bundles."""

from __future__ import annotations

from finial.agent.api.workload_stream import MOST_STREAM_BYTES, Reception
from finial.agent.cache import Cache
from finial.agent.change import Profile
from finial.rpc import Route, ServerCall, server_stream
from finial.wire.gen import workload


class X509Profile:
    """Serves callers their X.509-SVIDs and the bundles that prove others'.

    Args:
        reception: Knows who calls.
        cache: What there is.
    """

    def __init__(self, reception: Reception, cache: Cache) -> None:
        self._reception = reception
        self._cache = cache

    def routes(self) -> tuple[Route, ...]:
        """The methods of this profile."""
        api = workload.SpiffeWorkloadAPI
        return (
            server_stream(api.FetchX509SVID, self.fetch_x509_svid, most=MOST_STREAM_BYTES),
            server_stream(api.FetchX509Bundles, self.fetch_x509_bundles, most=MOST_STREAM_BYTES),
        )

    async def fetch_x509_svid(
        self,
        _: workload.X509SVIDRequest,
        call: ServerCall[workload.X509SVIDRequest, workload.X509SVIDResponse],
    ) -> None:
        """Send the caller its SVIDs with the bundles that it needs, now and at each change."""
        await self._reception.stream(call, Profile.X509, self._cache.x509_svids)

    async def fetch_x509_bundles(
        self,
        _: workload.X509BundlesRequest,
        call: ServerCall[workload.X509BundlesRequest, workload.X509BundlesResponse],
    ) -> None:
        """Send the caller the bundles that it may trust, now and at each change."""
        await self._reception.stream(call, Profile.X509, self._cache.x509_bundles)
