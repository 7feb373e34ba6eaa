"""Workload API messages from fragments that are encoded once.

A protobuf message with repeated fields and maps is the concatenation of messages with one of each. So there
is one fragment for each identity and one for each bundle, made when it is first needed, and a response is
fragments joined.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from finial.agent.entry import AuthorizedEntry
from finial.agent.holdings import Held
from finial.core.bundle import Bundle
from finial.core.ids import TrustDomain
from finial.wire.gen import workload


@dataclass(eq=False, slots=True, weakref_slot=True)
class Joined:
    """A message, alive as long as somebody may send it, and the fragments that it was made of."""

    data: bytes
    parts: tuple[bytes, ...]


class Fragments:
    """The fragments in use; those of what is no longer held are replaced or forgotten."""

    def __init__(self) -> None:
        self._identities: dict[str, tuple[Held, AuthorizedEntry, Bundle, bytes]] = {}
        self._federated: dict[TrustDomain, tuple[Bundle, bytes]] = {}
        self._bundles: dict[TrustDomain, tuple[Bundle, bytes]] = {}
        # By the identities of their fragments, which are nobody else's while the message lives.
        self._joined: WeakValueDictionary[tuple[int, ...], Joined] = WeakValueDictionary()

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
        known = self._federated.get(bundle.trust_domain)
        if known is None or known[0] is not bundle:
            named = {bundle.trust_domain.id.text: bundle_der(bundle)}
            known = bundle, workload.X509SVIDResponse(federated_bundles=named).SerializeToString()
            self._federated[bundle.trust_domain] = known
        return known[1]

    def bundle(self, bundle: Bundle) -> bytes:
        """The fragment of a bundle, the own one too, in a FetchX509Bundles response."""
        known = self._bundles.get(bundle.trust_domain)
        if known is None or known[0] is not bundle:
            named = {bundle.trust_domain.id.text: bundle_der(bundle)}
            known = bundle, workload.X509BundlesResponse(bundles=named).SerializeToString()
            self._bundles[bundle.trust_domain] = known
        return known[1]

    def joined(self, parts: tuple[bytes, ...]) -> Joined:
        """The message of these fragments, one for all who are sent the same."""
        if len(parts) == 1:
            return Joined(parts[0], parts)
        key = tuple(map(id, parts))
        known = self._joined.get(key)
        if known is None:
            known = self._joined[key] = Joined(b"".join(parts), parts)
        return known

    def forget(self, entry_ids: Iterable[str]) -> None:
        """Let the fragments of entries go that have changed or gone; keys stand in them."""
        for entry_id in entry_ids:
            self._identities.pop(entry_id, None)

    def keep_only(self, domains: Iterable[TrustDomain]) -> None:
        """Let the fragments of bundles go, but for those of these trust domains."""
        kept = set(domains)
        for fragments in (self._federated, self._bundles):
            for domain in fragments.keys() - kept:
                del fragments[domain]


def bundle_der(bundle: Bundle) -> bytes:
    """The X.509 authorities, DER after DER. Clauses: WAPI-30."""
    return b"".join(authority.der for authority in bundle.x509_authorities)
