"""`finial server bundle show`, `list`, `set` and `delete`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from finial.cli.commands import Command
from finial.cli.inputs import only, read_input, trust_domain_of
from finial.cli.options import output_option, socket_option
from finial.cli.session import PAGE_SIZE, BatchError, Session, answered, ask, refused, talk
from finial.cli.show import JSON, note, say
from finial.core import bundle_doc, pem
from finial.core.bundle import Bundle
from finial.core.errors import BundleError, Kind, Reason
from finial.core.ids import TrustDomain
from finial.core.x509cert import Certificate
from finial.wire.bundles import bundle_message, read_bundle
from finial.wire.gen import spire_api_server_bundle_v1 as bundle_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.jsontext import to_json
from finial.wire.statuses import error_of

PEM, SPIFFE = "pem", "spiffe"

_BROKEN = Reason(
    "bundle-entry-broken",
    Kind.INVALID,
    hint="Nothing was stored: get the bundle anew from whoever publishes it.",
)

_format_option = click.option(
    "--format",
    "form",
    type=click.Choice([PEM, SPIFFE]),
    default=PEM,
    show_default=True,
    help="PEM certificates, or a SPIFFE bundle in JSON.",
)


@click.command(
    "show",
    cls=Command,
    examples="""
    finial server bundle show > bundle.pem
    finial server bundle show --format spiffe > bundle.json
    """,
)
@socket_option("server")
@_format_option
@output_option
def show(socket: str, form: str, output: str) -> None:
    """Write the server's own trust bundle: what its SVIDs are verified with."""
    reply = ask(Path(socket), bundle_pb.Bundle.GetBundle, bundle_pb.GetBundleRequest())
    say(to_json(reply) if output == JSON else _text(reply, form))


@click.command(
    "list",
    cls=Command,
    examples="""
    finial server bundle list
    finial server bundle list --trust-domain partner.example --format spiffe
    """,
)
@socket_option("server")
@click.option("--trust-domain", metavar="TRUST_DOMAIN", help="Only the bundle of this one.")
@_format_option
@output_option
def list_bundles(socket: str, trust_domain: str | None, form: str, output: str) -> None:
    """Write the bundles of federated trust domains, a line of asterisks and the name before each."""
    if trust_domain is not None:
        name = trust_domain_of("--trust-domain", trust_domain).name
        request = bundle_pb.GetFederatedBundleRequest(trust_domain=name)
        one = ask(Path(socket), bundle_pb.Bundle.GetFederatedBundle, request)
        say(to_json(one) if output == JSON else _text(one, form))
        return
    reply = talk("server", Path(socket), _list)
    if output == JSON:
        say(to_json(reply))
        return
    for each in reply.bundles:
        say(f"{'*' * 30}\n* spiffe://{each.trust_domain}\n{'*' * 30}\n{_text(each, form)}")
    if not reply.bundles:
        note("there are no federated bundles")


async def _list(session: Session) -> bundle_pb.ListFederatedBundlesResponse:
    whole = bundle_pb.ListFederatedBundlesResponse()
    token = ""
    while True:
        request = bundle_pb.ListFederatedBundlesRequest(page_size=PAGE_SIZE, page_token=token)
        page = await session.call(bundle_pb.Bundle.ListFederatedBundles, request)
        whole.bundles.extend(page.bundles)
        token = page.next_page_token
        if not token:
            return whole


@click.command(
    "set",
    cls=Command,
    examples="""
    finial server bundle set --trust-domain partner.example --path partner.pem
    finial server bundle set --trust-domain partner.example --format spiffe < partner.json
    """,
)
@socket_option("server")
@click.option("--trust-domain", metavar="TRUST_DOMAIN", required=True, help="Whose bundle it is.")
@click.option(
    "--path", metavar="FILE", default="-", help="The file of the bundle; - is standard input.  [default: -]"
)
@_format_option
@output_option
def set_bundle(*, socket: str, trust_domain: str, path: str, form: str, output: str) -> None:
    """Store the bundle of a federated trust domain, in place of the one that may be there."""
    domain = trust_domain_of("--trust-domain", trust_domain)
    data = read_input(path)
    bundle = only("standard input" if path == "-" else path, lambda: _read(domain, data, form))
    request = bundle_pb.BatchSetFederatedBundleRequest(bundle=[bundle_message(bundle)])
    reply = ask(Path(socket), bundle_pb.Bundle.BatchSetFederatedBundle, request)
    if output == JSON:
        say(to_json(reply))
    _refuse([result.status for result in reply.results], domain)
    if output != JSON:
        say(f"Set the bundle of {domain} ({_counted(bundle)})")
    left_out = len(bundle.wit_authorities) - sum(len(each.bundle.wit_authorities) for each in reply.results)
    if left_out:
        note(f"left out by the server, which has not opted in: {left_out} WIT authorities")


@click.command(
    "delete",
    cls=Command,
    examples="""
    finial server bundle delete --trust-domain partner.example
    finial server bundle delete --trust-domain partner.example --mode dissociate
    """,
)
@socket_option("server")
@click.option("--trust-domain", metavar="TRUST_DOMAIN", required=True, help="Whose bundle it is.")
@click.option(
    "--mode",
    type=click.Choice(["restrict", "delete", "dissociate"]),
    default="restrict",
    show_default=True,
    help="While entries name the trust domain: refuse, delete the entries, or take the name out of them.",
)
@output_option
def delete(socket: str, trust_domain: str, mode: str, output: str) -> None:
    """Delete the bundle of a federated trust domain."""
    domain = trust_domain_of("--trust-domain", trust_domain)
    modes = bundle_pb.BatchDeleteFederatedBundleRequest.Mode
    request = bundle_pb.BatchDeleteFederatedBundleRequest(
        trust_domains=[domain.name], mode=modes.Value(mode.upper())
    )
    reply = ask(Path(socket), bundle_pb.Bundle.BatchDeleteFederatedBundle, request)
    if output == JSON:
        say(to_json(reply))
    _refuse([result.status for result in reply.results], domain)
    if output != JSON:
        say(f"Deleted the bundle of {domain}")


def _refuse(statuses: list[types.Status], domain: TrustDomain) -> None:
    errors = [error for status in statuses if (error := error_of(status)) is not None]
    if errors:
        raise BatchError([refused(error, f"bundle of {domain}") for error in errors])
    answered(len(statuses), 1)


def _counted(bundle: Bundle) -> str:
    kinds = {"X.509": bundle.x509_authorities, "JWT": bundle.jwt_authorities}
    return ", ".join(
        f"{len(held)} {kind} authorities" for kind, held in kinds.items() if held or kind == "X.509"
    )


def _text(message: types.Bundle, form: str) -> str:
    bundle = read_bundle(message)
    if form == SPIFFE:
        return bundle_doc.write_bundle(bundle).decode("ascii")
    ders = [authority.der for authority in bundle.x509_authorities]
    return pem.write(pem.CERTIFICATE, ders).decode("ascii").removesuffix("\n")


def _read(domain: TrustDomain, data: bytes, form: str) -> Bundle:
    """The bundle in a file.

    Raises:
        BundleError: It is no SPIFFE bundle.
        PEMError: It is no PEM.
        X509ParseError: A certificate cannot be read.
    """
    if form == SPIFFE:
        read = bundle_doc.read_bundle(domain, data)
        if read.broken:
            raise BundleError([replace(each, reason=_BROKEN) for each in read.broken], subject=domain.name)
        return read.bundle
    ders = pem.read_certificates(data)
    authorities = [Certificate.parse(der, f"certificate {at}") for at, der in enumerate(ders, 1)]
    return Bundle(trust_domain=domain, x509_authorities=tuple(authorities))
