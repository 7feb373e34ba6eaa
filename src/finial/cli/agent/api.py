"""`finial agent api fetch x509` and `watch`: what a workload is told that runs where this command runs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import click

from finial.cli.commands import Command
from finial.cli.inputs import only
from finial.cli.options import output_option, socket_option
from finial.cli.show import JSON, block, instant, note, say
from finial.core import pem
from finial.core.bundle import Bundle
from finial.core.x509svid import X509SVID
from finial.rpc import Address, Unix
from finial.runtime import files
from finial.runtime.config import default_socket, read_duration
from finial.sdk.address import ENVIRONMENT_VARIABLE, endpoint_address
from finial.sdk.response import X509Context
from finial.sdk.workload import Revoked, WorkloadClient
from finial.wire.gen import workload as pb
from finial.wire.jsontext import to_json

_SCHEMES = ("unix:", "tcp:")
_OURS = re.compile(r"svid\.[0-9]+\.(?:key|pem)|bundle\.[0-9]+\.pem|federated_bundle\.[0-9]+\.[0-9]+\.pem")


@click.command(
    "x509",
    cls=Command,
    examples="""
    finial agent api fetch x509
    finial agent api fetch x509 --socket /run/finial/agent/agent.sock --write /run/web
    """,
)
@socket_option("agent", environ=ENVIRONMENT_VARIABLE)
@click.option("--write", metavar="DIR", help="A folder for svid.0.pem, svid.0.key, bundle.0.pem and so on.")
@click.option("--silent", is_flag=True, help="Print nothing but errors.")
@click.option(
    "--timeout", metavar="DURATION", default="10s", show_default=True, help="How long to wait for the answer."
)
@output_option
def fetch_x509(*, socket: str | None, write: str | None, silent: bool, timeout: str, output: str) -> None:
    """Fetch the X.509-SVIDs of this process, as its user and executable are.

    With --output json private keys are printed too.
    """
    wait = only("--timeout", lambda: read_duration(timeout))
    address = _address(socket)
    context = asyncio.run(_fetch(address, wait))
    folder = None if write is None else files.folder(Path(write))
    if folder is not None:
        _write(folder, dict(_files(context)))
    if silent:
        return
    if output == JSON:
        say(to_json(_message(context)))
        return
    say(_shown(context))
    if folder is not None:
        note(f"wrote {', '.join(name for name, _ in _files(context))} into {folder}")


async def _fetch(address: Address, wait: timedelta) -> X509Context:
    async with WorkloadClient(address) as client:
        return await client.fetch_x509_context(wait=wait)


@click.command(
    "watch",
    cls=Command,
    examples="""
    finial agent api watch
    finial agent api watch --output json
    """,
)
@socket_option("agent", environ=ENVIRONMENT_VARIABLE)
@output_option
def watch(*, socket: str | None, output: str) -> None:
    """Show the X.509-SVIDs of this process now and at every change, until it is interrupted.

    With --output json each change is a line, and private keys are printed too.
    """
    asyncio.run(_watch(_address(socket), as_json=output == JSON))


async def _watch(address: Address, *, as_json: bool) -> None:
    async with WorkloadClient(address) as client, aclosing(client.watch_x509()) as events:
        async for event in events:
            if isinstance(event, Revoked):
                note(f"no identity: {event.why}")
            else:
                say(to_json(_message(event.value)) if as_json else f"{_shown(event.value)}\n")
            sys.stdout.flush()


def _address(socket: str | None) -> Address:
    """Where the Workload API is: a path or a URI that was given, the environment's, or the default."""
    if socket is not None:
        return endpoint_address(socket) if socket.startswith(_SCHEMES) or "://" in socket else Unix(socket)
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return endpoint_address()
    return Unix(str(default_socket("agent")))


def _shown(context: X509Context) -> str:
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


def _message(context: X509Context) -> pb.X509SVIDResponse:
    """The context in the form in which the agent sent it."""
    own = {svid.id.trust_domain for svid in context.svids}
    return pb.X509SVIDResponse(
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
