"""`finial server jwt mint`."""

from __future__ import annotations

from pathlib import Path

import click

from finial.cli.commands import Command
from finial.cli.inputs import Inputs, seconds
from finial.cli.options import output_option, socket_option
from finial.cli.server.minting import ends, mint_by, note_if_shorter
from finial.cli.session import Session, talk
from finial.cli.show import JSON, note, say
from finial.core.errors import Kind, Reason
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID
from finial.runtime import files
from finial.wire import registry
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.jsontext import to_json

_DISABLED = Reason(
    "jwt-disabled",
    Kind.MISSING,
    hint="Start the server without disable_jwt_svids.",
)


@click.command(
    "mint",
    cls=Command,
    examples="""
    finial server jwt mint --spiffe-id spiffe://example.org/backup --audience reports
    finial server jwt mint --spiffe-id spiffe://example.org/web --audience spiffe://example.org/api \\
        --ttl 1m --write token.jwt
    """,
)
@socket_option("server")
@click.option("--spiffe-id", metavar="SPIFFE_ID", required=True, help="Whom the SVID is for.")
@click.option(
    "--audience",
    metavar="TEXT",
    multiple=True,
    required=True,
    help="The service that is to accept it. May be repeated, but each can then show it to the others.",
)
@click.option("--ttl", metavar="DURATION", default="0", help="How long it lives; 0 for the server's default.")
@click.option("--write", metavar="PATH", help="A file for the token, which is printed otherwise.")
@output_option
def mint(
    *, socket: str, spiffe_id: str, audience: tuple[str, ...], ttl: str, write: str | None, output: str
) -> None:
    """Make a JWT-SVID without a registration entry.

    Whoever sees the token can use it with the services that it names, until it ends: have it written to a
    file that only you can read, or pass it on by a pipe.
    """
    inputs = Inputs()
    wanted = inputs.take("--spiffe-id", lambda: SpiffeID(spiffe_id))
    life = inputs.take("--ttl", lambda: seconds(ttl))
    if not all(audience):
        inputs.wrong("--audience", "an audience is empty: name the service that is to accept the token")
    inputs.check()
    assert wanted is not None  # or the inputs were wrong
    request = svid_pb.MintJWTSVIDRequest(id=registry.id_message(wanted), audience=audience, ttl=life)

    async def work(session: Session) -> svid_pb.MintJWTSVIDResponse:
        return await mint_by(session, svid_pb.SVID.MintJWTSVID, request, disabled=_DISABLED)

    reply = talk("server", Path(socket), work)
    svid = JWTSVID.parse(reply.svid.token)
    if write is not None:
        files.write(Path(write), svid.token.encode("ascii"))
        note(f"wrote the JWT-SVID to {write}; {ends(reply.svid)}")
    note_if_shorter(reply.svid, request.ttl)
    if output == JSON:
        say(to_json(reply))
    elif write is None:
        say(svid.token)
