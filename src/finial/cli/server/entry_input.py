"""Registration entries as options and files give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, TypeVar

import click

from finial.cli.inputs import Inputs, read_input, seconds, unix_time
from finial.cli.server.entry_file import read_entries, set_attributes
from finial.core.ids import SpiffeID, TrustDomain, server_id
from finial.core.selectors import Selector
from finial.wire.gen import spire_api_types as types
from finial.wire.registry import id_message

F = TypeVar("F", bound=Callable[..., object])


class EntryOptions(TypedDict):
    """What the options of `entry create` and `entry update` give, as text."""

    entry_id: str | None
    spiffe_id: str | None
    parent_id: str | None
    node: bool
    selector: tuple[str, ...]
    x509_svid_ttl: str | None
    jwt_svid_ttl: str | None
    federates_with: tuple[str, ...]
    dns: tuple[str, ...]
    hint: str | None
    admin: bool
    downstream: bool
    store_svid: bool
    entry_expiry: str | None
    disable_x509_svid_prefetch: bool
    jwt_svid_include_jti: bool


def entry_options(function: F) -> F:
    """The options that describe an entry."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = (
    click.option("--entry-id", metavar="ID", help="The id of the entry."),
    click.option("--spiffe-id", metavar="SPIFFE_ID", help="Who the workload is."),
    click.option(
        "--parent-id",
        metavar="SPIFFE_ID",
        help="The agent, or alias of agents, that the workload is under.",
    ),
    click.option(
        "--node/--no-node",
        default=False,
        help="The entry is an alias of nodes: its selectors are those of nodes, its parent is the server.",
    ),
    click.option(
        "--selector",
        metavar="TYPE:VALUE",
        multiple=True,
        help="What the workload must be; with several it must be all of them.",
    ),
    click.option(
        "--x509-svid-ttl",
        metavar="DURATION",
        help="How long its X.509-SVIDs live; 0 for the default.",
    ),
    click.option(
        "--jwt-svid-ttl", metavar="DURATION", help="How long its JWT-SVIDs live; 0 for the default."
    ),
    click.option(
        "--federates-with",
        metavar="TRUST_DOMAIN",
        multiple=True,
        help="A foreign trust domain whose bundle the workload gets. May be repeated.",
    ),
    click.option(
        "--dns", metavar="NAME", multiple=True, help="A DNS name for its certificates. May be repeated."
    ),
    click.option("--hint", metavar="TEXT", help="What the workload may call this identity among several."),
    click.option("--admin/--no-admin", default=False, help="The workload may administer the server."),
    click.option(
        "--downstream/--no-downstream", default=False, help="The workload is a server below this one."
    ),
    click.option(
        "--store-svid/--no-store-svid", default=False, help="The SVID goes to a store instead of a workload."
    ),
    click.option(
        "--entry-expiry", metavar="TIME", help="When the entry ends: Unix seconds, or 2027-01-31T12:00:00Z."
    ),
    click.option(
        "--disable-x509-svid-prefetch/--no-disable-x509-svid-prefetch",
        default=False,
        help="Agents have its X.509-SVIDs made only when they are asked for.",
    ),
    click.option(
        "--jwt-svid-include-jti/--no-jwt-svid-include-jti",
        default=False,
        help="Each of its JWT-SVIDs carries an id of its own.",
    ),
    click.option(
        "--data",
        metavar="FILE",
        help="Entries in a JSON file instead of the options above; - is standard input.",
    ),
)


def entries_given(data: str | None, options: EntryOptions, *, update: bool) -> list[types.Entry]:
    """The entries that a command line describes.

    Args:
        data: A file of entries, or `-`.
        options: Those of `entry_options`, without `--data`.
        update: Whether they exist already, and so have ids.

    Raises:
        UsageError: A file and options that describe an entry.
        FileError: The file cannot be read.
        InputError: An entry cannot be read; every mistake is a finding.
    """
    if data is None:
        return [_from_options(options, update=update)]
    given = [name for name, value in options.items() if value]
    if given:
        name = given[0].replace("_", "-")
        raise click.UsageError(
            f"--data and --{name} exclude each other", click.get_current_context(silent=True)
        )
    return read_entries(read_input(data), "standard input" if data == "-" else data)


def _from_options(given: EntryOptions, *, update: bool) -> types.Entry:
    inputs = Inputs()
    if update and not given["entry_id"]:
        inputs.wrong("--entry-id", "which entry is to be updated has to be said")
    spiffe_id = _id(inputs, "--spiffe-id", given["spiffe_id"])
    parent_id = _parent(inputs, given, spiffe_id)
    selectors = inputs.take_all("--selector", Selector.parse, given["selector"])
    if not given["selector"]:
        inputs.wrong("--selector", "at least one is needed, such as unix:uid:1000")
    domains = inputs.take_all("--federates-with", TrustDomain.from_name_or_id, given["federates_with"])
    x509_ttl = inputs.take("--x509-svid-ttl", lambda: seconds(given["x509_svid_ttl"] or "0"))
    jwt_ttl = inputs.take("--jwt-svid-ttl", lambda: seconds(given["jwt_svid_ttl"] or "0"))
    expires_at = inputs.take("--entry-expiry", lambda: unix_time(given["entry_expiry"] or "0"))
    inputs.check()
    assert spiffe_id is not None
    assert parent_id is not None
    entry = types.Entry(
        id=given["entry_id"],
        spiffe_id=id_message(spiffe_id),
        parent_id=id_message(parent_id),
        selectors=[types.Selector(type=each.type, value=each.value) for each in selectors],
        x509_svid_ttl=x509_ttl,
        jwt_svid_ttl=jwt_ttl,
        federates_with=[domain.name for domain in domains],
        dns_names=given["dns"],
        hint=given["hint"],
        admin=given["admin"],
        downstream=given["downstream"],
        store_svid=given["store_svid"],
        expires_at=expires_at,
    )
    set_attributes(
        entry,
        no_prefetch=given["disable_x509_svid_prefetch"],
        include_jti=given["jwt_svid_include_jti"],
    )
    return entry


def _id(inputs: Inputs, where: str, text: str | None) -> SpiffeID | None:
    if not text:
        inputs.wrong(where, "a SPIFFE ID is needed, such as spiffe://example.org/web")
        return None
    return inputs.take(where, lambda: SpiffeID(text))


def _parent(inputs: Inputs, given: EntryOptions, spiffe_id: SpiffeID | None) -> SpiffeID | None:
    if not given["node"]:
        return _id(inputs, "--parent-id", given["parent_id"])
    if given["parent_id"]:
        inputs.wrong("--parent-id", "the parent of an alias (--node) is the server")
    return None if spiffe_id is None else server_id(spiffe_id.trust_domain)
