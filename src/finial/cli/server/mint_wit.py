"""`finial server wit mint`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from finial.cli.commands import Command
from finial.cli.inputs import Inputs, read_input, seconds
from finial.cli.options import output_option, socket_option
from finial.cli.server.minting import ends, mint_by, note_if_shorter
from finial.cli.session import Session, talk
from finial.cli.show import JSON, note, say
from finial.core import jwk, pem
from finial.core.algorithms import Algorithm, algorithm_of, fits
from finial.core.errors import Kind, Reason
from finial.core.ids import SpiffeID
from finial.core.keys import KeyType, PublicKey, public_key_der, read_public_key
from finial.core.revision import STANDARDS
from finial.core.witsvid import WITSVID
from finial.runtime import files
from finial.wire import registry
from finial.wire.gen import spire_api_server_svid_v1 as svid_pb
from finial.wire.gen import spire_api_types as types

_DISABLED = Reason(
    "wit-disabled",
    Kind.MISSING,
    hint=f'Start the server with --incubating-wit-svid {STANDARDS}, or wit_svid = "{STANDARDS}" in the table '
    "incubating of its settings.",
)
_PUBLIC_KEY = "PUBLIC KEY"
_EXPONENT = 65_537
_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_4096: 4096}

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class _Holder:
    """The key that the token is bound to; the private half only when it was made here."""

    public: PublicKey
    private: _Key | None = field(default=None, repr=False)


@click.command(
    "mint",
    cls=Command,
    help=f"""Make a WIT-SVID without a registration entry.

    Its key is made here and goes nowhere else, unless --public-key names one that is elsewhere. The token
    proves nothing by itself: who presents it has to prove that it has the key.

    WIT-SVIDs are incubating: this is revision {STANDARDS} of their standard, and the next one may differ. The
    server signs them only if it was told to.
    """,
    examples="""
    finial server wit mint --spiffe-id spiffe://example.org/backup --write ./backup
    finial server wit mint --spiffe-id spiffe://example.org/web --public-key web.pub.pem
    """,
)
@socket_option("server")
@click.option("--spiffe-id", metavar="SPIFFE_ID", required=True, help="Whom the SVID is for.")
@click.option(
    "--public-key", metavar="FILE", help="A PEM file of the public key of its holder; - is standard input."
)
@click.option(
    "--key-type",
    type=click.Choice([each.value for each in KeyType]),
    help="Which kind of key is made.  [default: ec-p256]",
)
@click.option(
    "--signing-algorithm",
    type=click.Choice([each.value for each in Algorithm]),
    help="How the holder signs with the key.  [default: what goes with it; RS256 for RSA]",
)
@click.option("--ttl", metavar="DURATION", default="0", help="How long it lives; 0 for the server's default.")
@click.option("--write", metavar="DIR", help="A folder for the files token and key.")
@output_option
def mint(
    *,
    socket: str,
    spiffe_id: str,
    public_key: str | None,
    key_type: str | None,
    signing_algorithm: str | None,
    ttl: str,
    write: str | None,
    output: str,
) -> None:
    """Make a WIT-SVID; the help is above, since it names the revision."""
    inputs = Inputs()
    wanted = inputs.take("--spiffe-id", lambda: SpiffeID(spiffe_id))
    life = inputs.take("--ttl", lambda: seconds(ttl))
    holder = _holder(inputs, public_key, key_type)
    algorithm = _algorithm(inputs, signing_algorithm, holder)
    inputs.check()
    assert wanted is not None  # or the inputs were wrong
    assert holder is not None
    request = svid_pb.MintWITSVIDRequest(
        id=registry.id_message(wanted),
        public_key=public_key_der(holder.public),
        ttl=life,
        signing_algorithm=algorithm,
    )

    async def work(session: Session) -> svid_pb.MintWITSVIDResponse:
        return await mint_by(session, svid_pb.SVID.MintWITSVID, request, disabled=_DISABLED)

    svid = talk("server", Path(socket), work).svid
    token = WITSVID.parse(svid.token).token
    key = "" if holder.private is None else _key_text(holder.private, algorithm)
    if write is not None:
        _write(files.folder(Path(write)), token=token, key=key)
        note(f"wrote {'token and key' if key else 'token'} into {write}; {ends(svid)}")
    note_if_shorter(svid, request.ttl)
    if output == JSON:
        say(_json(svid, key))
    elif write is None:
        say(f"{token}\n{key}".rstrip())


def _holder(inputs: Inputs, public_key: str | None, key_type: str | None) -> _Holder | None:
    """Whose SVID it is: the owner of a key that is elsewhere, or of one that is made here."""
    if public_key is None:
        made = _make_key(KeyType(key_type or KeyType.EC_P256))
        return _Holder(made.public_key(), made)
    if key_type is not None:
        inputs.wrong("--key-type", "no key is made where --public-key names one: give one of the two")
    found = inputs.take("--public-key", lambda: _read_key(public_key))
    return None if found is None else _Holder(found)


def _make_key(kind: KeyType) -> _Key:
    match kind:
        case KeyType.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.EC_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.RSA_2048 | KeyType.RSA_4096:
            return rsa.generate_private_key(_EXPONENT, _BITS[kind])


def _read_key(path: str) -> PublicKey:
    blocks = pem.read_blocks(read_input(path))
    found = [block.der for block in blocks if block.label == _PUBLIC_KEY]
    if len(found) != 1 or len(blocks) != 1:
        raise ValueError("it does not hold one block PUBLIC KEY and nothing else")
    return read_public_key(found[0])


def _algorithm(inputs: Inputs, name: str | None, holder: _Holder | None) -> str:
    """How the holder will sign; what is wrong with that is noted."""
    if holder is None:
        return ""
    found = inputs.take("--public-key", lambda: algorithm_of(holder.public))
    if found is None or name is None:
        return found or ""
    if not fits(Algorithm(name), holder.public):
        inputs.wrong("--signing-algorithm", f"{name} does not go with a key of this type, {found} does")
    return name


def _key_text(key: _Key, algorithm: str) -> str:
    """A private key as a JWK, which is a secret."""
    return json.dumps({"alg": algorithm, **jwk.write_private(key)}, separators=(",", ":"))


def _write(folder: Path, *, token: str, key: str) -> None:
    if key:
        files.write(folder / "key", key.encode("ascii"))
    files.write(folder / "token", token.encode("ascii"))


def _json(svid: types.WITSVID, key: str) -> str:
    """The SVID in SPIRE's form: the key is a JWK in a text, and times are numbers."""
    document = {
        **({"private_key": key} if key else {}),
        "svid": {
            "expires_at": svid.expires_at,
            "id": {"path": svid.id.path, "trust_domain": svid.id.trust_domain},
            "issued_at": svid.issued_at,
            "token": svid.token,
        },
    }
    return json.dumps(document, separators=(",", ":"))
