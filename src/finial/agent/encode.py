"""Workload API messages from fragments that are encoded once.

A protobuf message with repeated fields and maps is the concatenation of messages with one of each. So there
is one fragment for each identity and one for each bundle, made when it is first needed, and a response is
fragments joined.
"""

from __future__ import annotations

from collections.abc import Iterable

from finial.agent.book import AuthorizedEntry, Held
from finial.core.bundle import Bundle
from finial.wire.gen import workload


class Fragments:
    """The fragments in use; those of what is no longer held are replaced or forgotten."""

    def __init__(self) -> None:
        self._identities: dict[str, tuple[Held, AuthorizedEntry, Bundle, bytes]] = {}
        self._federated: dict[Bundle, bytes] = {}
        self._bundles: dict[Bundle, bytes] = {}

    def identity(self, entry: AuthorizedEntry, held: Held, own: Bundle) -> bytes:
        """The fragment of one identity with the own bundle in it.

        Args:
            entry: Whose.
            held: Its SVID.
            own: The bundle of its trust domain.
        """
        known = self._identities.get(entry.id)
        if known is not None and known[0] is held and known[1] is entry and known[2] is own:
            return known[3]
        svid = workload.X509SVID(
            spiffe_id=held.svid.id.text,
            x509_svid=b"".join(held.svid.chain_der()),
            x509_svid_key=held.svid.key_der(),
            bundle=bundle_der(own),
            hint=entry.hint,
        )
        fragment = workload.X509SVIDResponse(svids=[svid]).SerializeToString()
        self._identities[entry.id] = (held, entry, own, fragment)
        return fragment

    def federated(self, bundle: Bundle) -> bytes:
        """The fragment of a foreign bundle in a FetchX509SVID response."""
        fragment = self._federated.get(bundle)
        if fragment is None:
            named = {bundle.trust_domain.id.text: bundle_der(bundle)}
            fragment = workload.X509SVIDResponse(federated_bundles=named).SerializeToString()
            self._federated[bundle] = fragment
        return fragment

    def bundle(self, bundle: Bundle) -> bytes:
        """The fragment of a bundle, the own one too, in a FetchX509Bundles response."""
        fragment = self._bundles.get(bundle)
        if fragment is None:
            named = {bundle.trust_domain.id.text: bundle_der(bundle)}
            fragment = workload.X509BundlesResponse(bundles=named).SerializeToString()
            self._bundles[bundle] = fragment
        return fragment

    def forget(self, entry_ids: Iterable[str], *, all_but: Iterable[Bundle]) -> None:
        """Let fragments go, in some of which keys stand.

        Args:
            entry_ids: Entries that have changed or gone.
            all_but: The bundles that are still held.
        """
        for entry_id in entry_ids:
            self._identities.pop(entry_id, None)
        alive = set(all_but)
        self._federated = {key: value for key, value in self._federated.items() if key in alive}
        self._bundles = {key: value for key, value in self._bundles.items() if key in alive}


def bundle_der(bundle: Bundle) -> bytes:
    """The X.509 authorities, DER after DER. Clauses: WAPI-30."""
    return b"".join(authority.der for authority in bundle.x509_authorities)
