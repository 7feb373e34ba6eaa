"""`finial agent api fetch x509`: the certificates of a workload that runs where this command runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from finial.cli.agent.endpoint import (
    ask,
    timeout_of,
    timeout_option,
    workload_address,
    workload_socket_option,
)
from finial.cli.commands import Command
from finial.cli.options import output_option
from finial.cli.show import JSON, block, instant, note, say
from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.x509svid import X509SVID
from finial.runtime import files
from finial.sdk.response_x509 import X509Context
from finial.wire.gen import workload as pb
from finial.wire.jsontext import to_json

_OURS = re.compile(r"svid\.[0-9]+\.(?:key|pem)|bundle\.[0-9]+\.pem|federated_bundle\.[0-9]+\.[0-9]+\.pem")


@click.command(
    "x509",
    cls=Command,
    examples="""
    finial agent api fetch x509
    finial agent api fetch x509 --socket /run/finial/agent/agent.sock --write /run/web
    """,
)
@workload_socket_option
@click.option("--write", metavar="DIR", help="A folder for svid.0.pem, svid.0.key, bundle.0.pem and so on.")
@click.option("--silent", is_flag=True, help="Print nothing but errors.")
@timeout_option
@output_option
def fetch_x509(*, socket: str | None, write: str | None, silent: bool, timeout: str, output: str) -> None:
    """Fetch the X.509-SVIDs of this process, as its user and executable are.

    With --output json private keys are printed too.
    """
    wait = timeout_of(timeout)
    context = ask(workload_address(socket), lambda client: client.fetch_x509_context(wait=wait))
    folder = None if write is None else files.folder(Path(write))
    if folder is not None:
        _write(folder, dict(_files(context)))
    if silent:
        return
    if output == JSON:
        say(x509_json(context))
        return
    say(shown_x509(context))
    if folder is not None:
        note(f"wrote {', '.join(name for name, _ in _files(context))} into {folder}")


def shown_x509(context: X509Context) -> str:
    """The SVIDs for people."""
    number = len(context.svids)
    blocks = [block(_lines(svid, context)) for svid in context.svids]
    return "\n\n".join([f"Received {number} SVID{'' if number == 1 else 's'}", *blocks])


def _lines(svid: X509SVID, context: X509Context) -> Iterator[tuple[str, str]]:
    yield "SPIFFE ID", svid.id.text
    if svid.hint:
        yield "Hint", svid.hint
    yield "Valid from", instant(int(svid.leaf.not_before.timestamp()))
    yield "Valid until", instant(int(svid.expires_at.timestamp()))
    for number, other in enumerate(svid.certificates[1:], 1):
        yield f"Intermediate {number}", f"valid until {instant(int(other.not_after.timestamp()))}"
    bundle = context.bundle_for(svid.id.trust_domain)
    for number, authority in enumerate(bundle.x509_authorities if bundle else (), 1):
        yield f"Authority {number}", f"valid until {instant(int(authority.not_after.timestamp()))}"
    for other_bundle in _federated(svid, context):
        yield "Federated with", other_bundle.trust_domain.name


def _federated(svid: X509SVID, context: X509Context) -> list[Bundle]:
    return [bundle for domain, bundle in sorted(context.bundles.items()) if domain != svid.id.trust_domain]


def _ders(bundle: Bundle | None) -> list[bytes]:
    return [authority.der for authority in bundle.x509_authorities] if bundle else []


def _files(context: X509Context) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files, as SPIRE calls them; each key before the certificate that needs it."""
    for number, svid in enumerate(context.svids):
        yield f"svid.{number}.key", svid.key_pem()
        yield f"svid.{number}.pem", svid.chain_pem()
        own = _ders(context.bundle_for(svid.id.trust_domain))
        yield f"bundle.{number}.pem", pem.write(pem.CERTIFICATE, own)
        for at, bundle in enumerate(_federated(svid, context)):
            yield f"federated_bundle.{number}.{at}.pem", pem.write(pem.CERTIFICATE, _ders(bundle))


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files, then delete those of an earlier time that are not among them.

    Whoever loads all of them must not go on to trust a domain, or to be somebody, that is no longer there.
    """
    for name, data in contents.items():
        files.write(folder / name, data)
    for path in sorted(folder.iterdir()):
        if path.name not in contents and _OURS.fullmatch(path.name):
            files.remove(path)


def x509_json(context: X509Context) -> str:
    """The SVIDs as the agent sent them, private keys included, as one line of JSON."""
    own = {svid.id.trust_domain for svid in context.svids}
    message = pb.X509SVIDResponse(
        svids=[
            pb.X509SVID(
                spiffe_id=svid.id.text,
                x509_svid=b"".join(svid.chain_der()),
                x509_svid_key=svid.key_der(),
                bundle=b"".join(_ders(context.bundle_for(svid.id.trust_domain))),
                hint=svid.hint,
            )
            for svid in context.svids
        ],
        crl=context.crls,
        federated_bundles={
            domain.id.text: b"".join(_ders(bundle))
            for domain, bundle in context.bundles.items()
            if domain not in own
        },
    )
    return to_json(message)
