"""`finial agent api fetch jwt` and `validate jwt`: tokens to show, and tokens that were shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

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
from finial.cli.inputs import Inputs, read_input, spiffe_id_of
from finial.cli.options import output_option
from finial.cli.show import JSON, say
from finial.core.jwtsvid import JWTSVID
from finial.sdk.tokenbundles import JWTBundles
from finial.sdk.workload import WorkloadClient
from finial.wire.gen import workload as pb
from finial.wire.jsontext import to_json

_MANY = "May be repeated, or give several with commas between them."


@click.command(
    "jwt",
    cls=Command,
    examples="""
    finial agent api fetch jwt --audience reports
    finial agent api fetch jwt --audience reports --spiffe-id spiffe://example.org/web --output json
    """,
)
@workload_socket_option
@click.option(
    "--audience",
    metavar="NAME",
    multiple=True,
    required=True,
    help=f"The service that the token is to be shown to, as it calls itself. {_MANY}",
)
@click.option("--spiffe-id", metavar="SPIFFE_ID", help="The one identity that is wanted; all without it.")
@timeout_option
@output_option
def fetch_jwt(
    *, socket: str | None, audience: tuple[str, ...], spiffe_id: str | None, timeout: str, output: str
) -> None:
    """Fetch a JWT-SVID for each identity of this process, and the keys to validate others' with.

    Whoever sees a token can use it until it ends: do not let it get into logs.
    """
    wait = timeout_of(timeout)
    wanted = None if spiffe_id is None else spiffe_id_of("--spiffe-id", spiffe_id)
    names = [name for each in audience for name in each.split(",")]

    async def question(client: WorkloadClient) -> tuple[tuple[JWTSVID, ...], JWTBundles]:
        svids = await client.fetch_jwt_svids(*names, spiffe_id=wanted, wait=wait)
        return svids, await client.fetch_jwt_bundles(wait=wait)

    svids, bundles = ask(workload_address(socket), question)
    if output == JSON:
        say(f"[{_tokens_json(svids)},{jwt_bundles_json(bundles)}]")
    else:
        click.echo("\n".join([*_token_blocks(svids), shown_jwt_bundles(bundles)]))


@click.command(
    "jwt",
    cls=Command,
    examples="""
    finial agent api validate jwt --audience reports --svid-file token.txt
    some-program | finial agent api validate jwt --audience reports --svid -
    """,
)
@workload_socket_option
@click.option("--audience", metavar="NAME", required=True, help="The service that the token was shown to.")
@click.option(
    "--svid",
    metavar="TOKEN",
    help="The token; - reads it from standard input. Every process of this machine can read the arguments "
    "of this one, and use the token: - and --svid-file keep it from them.",
)
@click.option("--svid-file", metavar="FILE", help="A file with the token; - is standard input.")
@timeout_option
@output_option
def validate_jwt(
    *,
    socket: str | None,
    audience: str,
    svid: str | None,
    svid_file: str | None,
    timeout: str,
    output: str,
) -> None:
    """Have the agent validate a JWT-SVID, and show whom it names. It exits with 1 when it proves nothing."""
    wait = timeout_of(timeout)
    token = _token(svid, svid_file)
    found = ask(workload_address(socket), lambda client: client.validate_jwt_svid(token, audience, wait=wait))
    if output == JSON:
        say(_json({"claims": found.claims, "spiffe_id": found.id.text}))
    else:
        say(f"SVID is valid.\nSPIFFE ID : {found.id}\nClaims    : {_json(found.claims)}")


def shown_jwt_bundles(bundles: JWTBundles) -> str:
    """The keys of each trust domain for people, each set on a line."""
    return "\n".join(key_set_blocks(bundles.key_sets()))


def jwt_bundles_json(bundles: JWTBundles) -> str:
    """The keys as the agent sends them, as one line of JSON."""
    key_sets = {each.id.text: keys for each, keys in bundles.key_sets().items()}
    return to_json(pb.JWTBundlesResponse(bundles=key_sets))


def _token(svid: str | None, path: str | None) -> str:
    """The token that was given in one of the two ways.

    Raises:
        InputError: It was given in both or in neither, or is no text that could be a token.
    """
    inputs = Inputs()
    if (svid is None) == (path is None):
        inputs.wrong("--svid", "give the token, or - for standard input, or its file by --svid-file")
        inputs.check()
    if svid is not None and svid != "-":
        return svid
    data = read_input(path or "-").strip()
    if not data or not data.isascii():
        inputs.wrong("--svid" if path is None else "--svid-file", "there is no token in it")
        inputs.check()
    return data.decode("ascii")


def _token_blocks(svids: Iterable[JWTSVID]) -> Iterator[str]:
    for svid in svids:
        yield labelled("token", svid.id.text, svid.token)
        if svid.hint:
            yield labelled("hint", svid.id.text, svid.hint)


def _tokens_json(svids: Iterable[JWTSVID]) -> str:
    each = [pb.JWTSVID(spiffe_id=svid.id.text, svid=svid.token, hint=svid.hint) for svid in svids]
    return to_json(pb.JWTSVIDResponse(svids=each))


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=dict)
