"""What the calls about each kind of authority are named, and how a command line chooses one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

from finial.rpc import Method
from finial.server.ca.kinds import JWT, WIT, X509, KindName, TokenKind, X509Kind
from finial.wire.gen import spire_api_server_localauthority_v1 as pb

F = TypeVar("F", bound=Callable[..., object])

State = pb.GetX509AuthorityStateResponse | pb.GetJWTAuthorityStateResponse | pb.GetWITAuthorityStateResponse
Prepared = pb.PrepareX509AuthorityResponse | pb.PrepareJWTAuthorityResponse | pb.PrepareWITAuthorityResponse
Activated = (
    pb.ActivateX509AuthorityResponse | pb.ActivateJWTAuthorityResponse | pb.ActivateWITAuthorityResponse
)
Tainted = pb.TaintX509AuthorityResponse | pb.TaintJWTAuthorityResponse | pb.TaintWITAuthorityResponse
Revoked = pb.RevokeX509AuthorityResponse | pb.RevokeJWTAuthorityResponse | pb.RevokeWITAuthorityResponse

AnyKind = X509Kind | TokenKind

_KINDS: Final = [kind.value for kind in KindName]
_SERVICE: Final = pb.LocalAuthority


@dataclass(frozen=True, slots=True)
class Methods:
    """The calls about one kind; each is a method with the maker of its request.

    Args:
        kind: Which one.
        state: Asks what is in the slots; and so on.
    """

    kind: AnyKind
    state: tuple[Method[Any, Any], Callable[..., object]]
    prepare: tuple[Method[Any, Any], Callable[..., object]]
    activate: tuple[Method[Any, Any], Callable[..., object]]
    taint: tuple[Method[Any, Any], Callable[..., object]]
    revoke: tuple[Method[Any, Any], Callable[..., object]]


METHODS: Final[Mapping[KindName, Methods]] = MappingProxyType(
    {
        KindName.X509: Methods(
            X509,
            (_SERVICE.GetX509AuthorityState, pb.GetX509AuthorityStateRequest),
            (_SERVICE.PrepareX509Authority, pb.PrepareX509AuthorityRequest),
            (_SERVICE.ActivateX509Authority, pb.ActivateX509AuthorityRequest),
            (_SERVICE.TaintX509Authority, pb.TaintX509AuthorityRequest),
            (_SERVICE.RevokeX509Authority, pb.RevokeX509AuthorityRequest),
        ),
        KindName.JWT: Methods(
            JWT,
            (_SERVICE.GetJWTAuthorityState, pb.GetJWTAuthorityStateRequest),
            (_SERVICE.PrepareJWTAuthority, pb.PrepareJWTAuthorityRequest),
            (_SERVICE.ActivateJWTAuthority, pb.ActivateJWTAuthorityRequest),
            (_SERVICE.TaintJWTAuthority, pb.TaintJWTAuthorityRequest),
            (_SERVICE.RevokeJWTAuthority, pb.RevokeJWTAuthorityRequest),
        ),
        KindName.WIT: Methods(
            WIT,
            (_SERVICE.GetWITAuthorityState, pb.GetWITAuthorityStateRequest),
            (_SERVICE.PrepareWITAuthority, pb.PrepareWITAuthorityRequest),
            (_SERVICE.ActivateWITAuthority, pb.ActivateWITAuthorityRequest),
            (_SERVICE.TaintWITAuthority, pb.TaintWITAuthorityRequest),
            (_SERVICE.RevokeWITAuthority, pb.RevokeWITAuthorityRequest),
        ),
    }
)


def flag(kind: KindName) -> str:
    """The option that chooses a kind, as further commands are told of it; none for the usual one."""
    return "" if kind is KindName.X509 else f" --kind {kind}"


def kind_option(function: F) -> F:
    """`--kind`, of which one is meant."""
    return click.option(
        "--kind",
        type=click.Choice(_KINDS),
        callback=_read_kind,
        default=KindName.X509.value,
        show_default=True,
        help="What the authority signs: X.509-SVIDs, JWT-SVIDs or WIT-SVIDs.",
    )(function)


def any_kind_option(function: F) -> F:
    """`--kind`, where all are meant without it."""
    text = "Those of one kind.  [default: all that there are]"
    return click.option("--kind", type=click.Choice(_KINDS), callback=_read_kind, help=text)(function)


def _read_kind(_context: click.Context, _option: click.Parameter, value: str | None) -> KindName | None:
    return None if value is None else KindName(value)
