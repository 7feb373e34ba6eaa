"""Workload API messages from fragments that are encoded once.

A protobuf message with repeated fields and maps is the concatenation of messages with one of each. So there
is one fragment for each identity and one for each bundle, made when it is first needed, and a response is
fragments joined. A fragment is kept by what is in it: a bundle that has another key for JWT-SVIDs leaves all
those of X.509 as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from finial.agent.entry import AuthorizedEntry
from finial.agent.holdings import Held
from finial.core.bundle import Bundle
from finial.core.bundle_doc import write_jwks, write_wit_jwks
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.wire.gen import workload


@dataclass(eq=False, slots=True, weakref_slot=True)
class Joined:
    """A message, alive as long as somebody may send it, and the fragments that it was made of."""

    data: bytes
    parts: tuple[bytes, ...]


class BundleFragments:
    """The fragments of bundles in one field of one response.

    Args:
        part: What of a bundle is in them.
        encode: The response with one bundle in it, under the ID of its trust domain.
    """

    __slots__ = ("_encode", "_known", "_part")

    def __init__(self, part: Callable[[Bundle], object], encode: Callable[[str, Bundle], bytes]) -> None:
        self._part = part
        self._encode = encode
        self._known: dict[TrustDomain, tuple[object, bytes]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, bundle: Bundle) -> bytes:
        """The fragment of a bundle."""
        part, known = self._part(bundle), self._known.get(bundle.trust_domain)
        if known is None or known[0] != part:
            known = part, self._encode(bundle.trust_domain.id.text, bundle)
            self._known[bundle.trust_domain] = known
        return known[1]

    def keep_only(self, domains: set[TrustDomain]) -> None:
        """Let all fragments go but for those of these trust domains."""
        for domain in self._known.keys() - domains:
            del self._known[domain]


class Fragments:
    """The fragments in use; those of what is no longer held are replaced or forgotten."""

    def __init__(self) -> None:
        self.federated = BundleFragments(_roots, _federated)
        """Foreign bundles in a FetchX509SVID response."""
        self.x509_bundles = BundleFragments(_roots, _x509_bundle)
        """Bundles, the own one too, in a FetchX509Bundles response."""
        self.jwt_bundles = BundleFragments(lambda bundle: bundle.jwt_authorities, _jwt_bundle)
        """Bundles, the own one too, in a FetchJWTBundles response."""
        self.wit_bundles = BundleFragments(lambda bundle: bundle.wit_authorities, _wit_bundle)
        """Bundles, the own one too, in a FetchWITBundles response."""
        self._identities: dict[str, tuple[Held, AuthorizedEntry, tuple[Certificate, ...], bytes]] = {}
        # By the identities of their fragments, which are nobody else's while the message lives.
        self._joined: WeakValueDictionary[tuple[int, ...], Joined] = WeakValueDictionary()

    def identity(self, entry: AuthorizedEntry, held: Held, own: Bundle) -> bytes:
        """The fragment of one identity with the own bundle in it.

        Args:
            entry: Whose.
            held: Its SVID.
            own: The bundle of its trust domain.
        """
        known, roots = self._identities.get(entry.id), _roots(own)
        if known is not None and known[0] is held and known[1] is entry and known[2] == roots:
            return known[3]
        svid = workload.X509SVID(
            spiffe_id=held.svid.id.text,
            x509_svid=b"".join(held.svid.chain_der()),
            x509_svid_key=held.svid.key_der(),
            bundle=bundle_der(own),
            hint=entry.hint,
        )
        fragment = workload.X509SVIDResponse(svids=[svid]).SerializeToString()
        self._identities[entry.id] = (held, entry, roots, fragment)
        return fragment

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
        for fragments in (self.federated, self.x509_bundles, self.jwt_bundles, self.wit_bundles):
            fragments.keep_only(kept)


def bundle_der(bundle: Bundle) -> bytes:
    """The X.509 authorities, DER after DER. Clauses: WAPI-30."""
    return b"".join(authority.der for authority in bundle.x509_authorities)


def jwt_svid(entry: AuthorizedEntry, token: str) -> bytes:
    """The fragment of one identity in a FetchJWTSVID response. Clauses: WAPI-44.

    Args:
        entry: Whose.
        token: Its JWT-SVID.
    """
    svid = workload.JWTSVID(spiffe_id=entry.spiffe_id.text, svid=token, hint=entry.hint)
    return workload.JWTSVIDResponse(svids=[svid]).SerializeToString()


def _roots(bundle: Bundle) -> tuple[Certificate, ...]:
    return bundle.x509_authorities


def _federated(name: str, bundle: Bundle) -> bytes:
    return workload.X509SVIDResponse(federated_bundles={name: bundle_der(bundle)}).SerializeToString()


def _x509_bundle(name: str, bundle: Bundle) -> bytes:
    return workload.X509BundlesResponse(bundles={name: bundle_der(bundle)}).SerializeToString()


def _jwt_bundle(name: str, bundle: Bundle) -> bytes:
    """Clauses: WAPI-49, WAPI-50."""
    return workload.JWTBundlesResponse(bundles={name: write_jwks(bundle)}).SerializeToString()


def _wit_bundle(name: str, bundle: Bundle) -> bytes:
    """Clauses: WAPI-65."""
    return workload.WITBundlesResponse(bundles={name: write_wit_jwks(bundle).decode()}).SerializeToString()
