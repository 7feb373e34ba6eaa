"""The Workload API, the profile of WIT-SVIDs: FetchWITSVID and FetchWITBundles. Incubating.

Without the setting that names the revision of the standard these methods are not served at all, so that they
answer UNIMPLEMENTED (WAPI-55).
"""

from __future__ import annotations

from finial.agent.api.workload_jwt import read_wanted
from finial.agent.api.workload_stream import MOST_STREAM_BYTES, Look, Reception
from finial.agent.audiences import Content, Watcher
from finial.agent.cache import Cache
from finial.agent.change import Profile
from finial.core.selectors import Selector
from finial.rpc import Route, ServerCall, server_stream
from finial.wire.gen import workload


class WITProfile:
    """Serves callers their WIT-SVIDs, with keys, and the bundles that prove others'.

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
            server_stream(api.FetchWITSVID, self.fetch_wit_svid, most=MOST_STREAM_BYTES),
            server_stream(api.FetchWITBundles, self.fetch_wit_bundles, most=MOST_STREAM_BYTES),
        )

    async def fetch_wit_svid(
        self,
        request: workload.WITSVIDRequest,
        call: ServerCall[workload.WITSVIDRequest, workload.WITSVIDResponse],
    ) -> None:
        """Send the caller a token with its key for each identity, or for the one that it names.

        Clauses: WAPI-57..WAPI-61, WAPI-77.
        """
        self._reception.admit(call)
        wanted = read_wanted(request.spiffe_id)
        cache = self._cache
        look: Look = cache.wit_svids
        if wanted is not None:

            def look(watcher: Watcher, selectors: frozenset[Selector]) -> Content:
                return cache.wit_svids_of(wanted, watcher, selectors)

        await self._reception.stream(call, Profile.WIT, look)

    async def fetch_wit_bundles(
        self,
        _: workload.WITBundlesRequest,
        call: ServerCall[workload.WITBundlesRequest, workload.WITBundlesResponse],
    ) -> None:
        """Send the caller the keys of the trust domains that it may trust, now and at each change.

        Clauses: WAPI-64..WAPI-66.
        """
        await self._reception.stream(call, Profile.WIT, self._cache.wit_bundles)
