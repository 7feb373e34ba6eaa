"""From what a server sends to what the agent works with."""

from __future__ import annotations

from collections.abc import Iterable

from finial.agent.entry import AuthorizedEntry
from finial.agent.identity import Key
from finial.core.errors import Finding, Kind, Reason, RefusedError
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate, check_count
from finial.core.x509svid import X509SVID
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import read_domain, read_id, read_selectors

_USELESS = Reason("agent-entry-useless", Kind.INVALID)
MAX_HINT_BYTES = 1_024


def read_authorized(message: types.Entry) -> AuthorizedEntry:
    """An entry as agents are told of it.

    Raises:
        RefusedError: It lacks its id, its SPIFFE ID or its selectors, or one of its values is malformed; or
            its hint is longer than the Workload API allows. Clauses: WAPI-70.
    """
    lacking = [
        name
        for name, there in (
            ("id", message.id),
            ("spiffe_id", message.HasField("spiffe_id")),
            ("selectors", message.selectors),
        )
        if not there
    ]
    if lacking:
        raise RefusedError([Finding(_USELESS, f"it has no {name}", name) for name in lacking])
    hint_bytes = len(message.hint.encode())
    if hint_bytes > MAX_HINT_BYTES:
        text = f"it has {hint_bytes} bytes, at most {MAX_HINT_BYTES} are allowed"
        raise RefusedError([Finding(_USELESS, text, "hint")])
    spiffe_id = read_id(message.spiffe_id, "spiffe_id")
    return AuthorizedEntry(
        id=message.id,
        spiffe_id=spiffe_id,
        selectors=frozenset(read_selectors(message.selectors)),
        federates_with=domains(message.federates_with, but=spiffe_id.trust_domain),
        hint=message.hint,
        created_at=message.created_at,
        revision=message.revision_number,
        on_demand=message.additional_attributes.disable_x509_svid_prefetch,
        stored=message.store_svid,
        unique_tokens=message.additional_attributes.jwt_svid_include_jti,
    )


def domains(names: Iterable[str], *, but: TrustDomain) -> tuple[TrustDomain, ...]:
    """The trust domains with these names, each once, sorted.

    Args:
        names: As the server has them.
        but: The own one, whose bundle a workload gets in any case, and which is no foreign bundle.
    """
    return tuple(sorted({read_domain(name, "federates_with") for name in names} - {but}))


def read_svid(message: types.X509SVID, key: Key) -> X509SVID:
    """The SVID that a server signed for a key; the chain counts, not what the message says beside it.

    Raises:
        RefusedError: The chain breaks a rule, or is not for this key.
    """
    check_count(message.cert_chain)
    chain = [Certificate.parse(der, f"certificate {at}") for at, der in enumerate(message.cert_chain, 1)]
    return X509SVID(tuple(chain), key)
