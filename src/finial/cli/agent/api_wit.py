"""`finial agent api fetch wit`: tokens that are bound to a key, and the key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from finial.cli.agent.endpoint import (
    ask,
    key_set_blocks,
    labelled,
    timeout_of,
    timeout_option,
    workload_address,
    workload_socket_option,
)
from finial.cli.commands import Command
from finial.cli.inputs import spiffe_id_of
from finial.cli.options import output_option
from finial.cli.show import JSON, say
from finial.core.revision import STANDARDS
from finial.sdk.response_wit import WITIdentity, write_key
from finial.sdk.tokenbundles import WITBundles
from finial.sdk.workload import WorkloadClient
from finial.wire.gen import workload as pb
from finial.wire.jsontext import to_json


@click.command(
    "wit",
    cls=Command,
    help=f"""Fetch a WIT-SVID for each identity of this process, and the keys to validate others' with.

    WIT-SVIDs are an incubating standard, here by its text of {STANDARDS}; agents offer them when their
    configuration says so. With --output json private keys are printed too.
    """,
    examples="""
    finial agent api fetch wit
    finial agent api fetch wit --spiffe-id spiffe://example.org/web --output json
    """,
)
@workload_socket_option
@click.option("--spiffe-id", metavar="SPIFFE_ID", help="The one identity that is wanted; all without it.")
@timeout_option
@output_option
def fetch_wit(*, socket: str | None, spiffe_id: str | None, timeout: str, output: str) -> None:
    """Fetch WIT-SVIDs and the keys to validate others' with; the command's help says more."""
    wait = timeout_of(timeout)
    wanted = None if spiffe_id is None else spiffe_id_of("--spiffe-id", spiffe_id)

    async def question(client: WorkloadClient) -> tuple[tuple[WITIdentity, ...], WITBundles]:
        identities = await client.fetch_wit_svids(spiffe_id=wanted, wait=wait)
        return identities, await client.fetch_wit_bundles(wait=wait)

    identities, bundles = ask(workload_address(socket), question)
    if output == JSON:
        key_sets = {each.id.text: keys.decode() for each, keys in bundles.key_sets().items()}
        say(f"[{wit_json(identities)},{to_json(pb.WITBundlesResponse(bundles=key_sets))}]")
    else:
        click.echo("\n".join([shown_wit(identities), *key_set_blocks(bundles.key_sets())]))


def shown_wit(identities: Iterable[WITIdentity]) -> str:
    """The tokens for people, without the keys that make them worth something."""
    return "\n".join(_blocks(identities))


def wit_json(identities: Iterable[WITIdentity]) -> str:
    """The tokens as the agent sent them, private keys included, as one line of JSON."""
    each = [
        pb.WITSVID(
            spiffe_id=identity.id.text,
            wit_svid=identity.svid.token,
            wit_svid_key=write_key(identity),
            hint=identity.hint,
        )
        for identity in identities
    ]
    return to_json(pb.WITSVIDResponse(svids=each))


def _blocks(identities: Iterable[WITIdentity]) -> Iterator[str]:
    for identity in identities:
        yield labelled("token", identity.id.text, identity.svid.token)
        if identity.hint:
            yield labelled("hint", identity.id.text, identity.hint)
