"""How registration entries are shown to people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from finial.cli.show import block, instant, say, yes_no
from finial.runtime.config import write_duration
from finial.wire.gen import spire_api_types as types


def id_text(message: types.SPIFFEID) -> str:
    """A SPIFFE ID as a URI, whatever the message holds."""
    return f"spiffe://{message.trust_domain}{message.path}"


def entry_block(entry: types.Entry) -> str:
    """An entry, a line for each thing that it says."""
    return block(_lines(entry))


def print_entries(entries: Iterable[types.Entry]) -> None:
    """Entries, with an empty line between two."""
    say("\n\n".join(map(entry_block, entries)))


def _lines(entry: types.Entry) -> Iterator[tuple[str, str]]:
    yield "Entry ID", entry.id
    yield "SPIFFE ID", id_text(entry.spiffe_id)
    yield "Parent ID", id_text(entry.parent_id)
    yield "Revision", str(entry.revision_number)
    yield "X509-SVID TTL", _ttl(entry.x509_svid_ttl)
    yield "JWT-SVID TTL", _ttl(entry.jwt_svid_ttl)
    for selector in entry.selectors:
        yield "Selector", f"{selector.type}:{selector.value}"
    for domain in entry.federates_with:
        yield "FederatesWith", domain
    for name in entry.dns_names:
        yield "DNS name", name
    if entry.hint:
        yield "Hint", entry.hint
    if entry.expires_at:
        yield "Expires", instant(entry.expires_at)
    if entry.created_at:
        yield "Created", instant(entry.created_at)
    for name, on in (
        ("Admin", entry.admin),
        ("Downstream", entry.downstream),
        ("StoreSvid", entry.store_svid),
        ("No prefetch", entry.additional_attributes.disable_x509_svid_prefetch),
        ("JWT-SVID jti", entry.additional_attributes.jwt_svid_include_jti),
    ):
        if on:
            yield name, yes_no(on)


def _ttl(seconds: int) -> str:
    return write_duration(timedelta(seconds=seconds)) if seconds else "default"
