"""Who may call what: one table, and the question it answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class Role(Enum):
    """What a caller can be, in the order in which it is looked for."""

    ANY = "any"
    LOCAL = "local"  # whoever can open the administration socket
    ADMIN = "admin"  # its ID is configured, or an entry with `admin` is registered under it
    DOWNSTREAM = "downstream"
    AGENT = "agent"


_ANYBODY: Final = frozenset({Role.ANY})
_AGENT: Final = frozenset({Role.AGENT})
_ADMIN: Final = frozenset({Role.LOCAL, Role.ADMIN})
_LOCAL: Final = frozenset({Role.LOCAL})
_READER: Final = frozenset({Role.LOCAL, Role.ADMIN, Role.AGENT})


_AUTHORITY_STEPS: Final = (("Get", "State"), ("Prepare", ""), ("Activate", ""), ("Taint", ""), ("Revoke", ""))


def _of(service: str, methods: Mapping[str, frozenset[Role]]) -> dict[str, frozenset[Role]]:
    return {f"/{service}/{name}": roles for name, roles in methods.items()}


TABLE: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        **_of(
            "spire.api.server.agent.v1.Agent",
            {
                "AttestAgent": _ANYBODY,
                "RenewAgent": _AGENT,
                "PostStatus": _AGENT,
                "CountAgents": _ADMIN,
                "ListAgents": _ADMIN,
                "GetAgent": _ADMIN,
                "DeleteAgent": _ADMIN,
                "BanAgent": _ADMIN,
                "CreateJoinToken": _ADMIN,
            },
        ),
        **_of(
            "spire.api.server.bundle.v1.Bundle",
            {
                "GetBundle": _ANYBODY,
                "GetFederatedBundle": _READER,
                "CountBundles": _ADMIN,
                "AppendBundle": _ADMIN,
                "ListFederatedBundles": _ADMIN,
                "BatchCreateFederatedBundle": _ADMIN,
                "BatchUpdateFederatedBundle": _ADMIN,
                "BatchSetFederatedBundle": _ADMIN,
                "BatchDeleteFederatedBundle": _ADMIN,
            },
        ),
        **_of(
            "spire.api.server.entry.v1.Entry",
            {
                "GetAuthorizedEntries": _AGENT,
                "SyncAuthorizedEntries": _AGENT,
                "CountEntries": _ADMIN,
                "ListEntries": _ADMIN,
                "GetEntry": _ADMIN,
                "BatchCreateEntry": _ADMIN,
                "BatchUpdateEntry": _ADMIN,
                "BatchDeleteEntry": _ADMIN,
            },
        ),
        **_of(
            "spire.api.server.svid.v1.SVID",
            {
                "BatchNewX509SVID": _AGENT,
                "NewJWTSVID": _AGENT,
                "BatchNewWITSVID": _AGENT,
                "MintX509SVID": _ADMIN,
                "MintJWTSVID": _ADMIN,
                "MintWITSVID": _ADMIN,
            },
        ),
        **_of(
            "spire.api.server.localauthority.v1.LocalAuthority",
            {
                "GetX509AuthorityState": _ADMIN,
                "PrepareX509Authority": _ADMIN,
                "ActivateX509Authority": _ADMIN,
                "TaintX509Authority": _ADMIN,
                "RevokeX509Authority": _ADMIN,
                "TaintX509UpstreamAuthority": _ADMIN,
                "RevokeX509UpstreamAuthority": _ADMIN,
                **{f"{step}JWTAuthority{what}": _ADMIN for step, what in _AUTHORITY_STEPS},
                **{f"{step}WITAuthority{what}": _ADMIN for step, what in _AUTHORITY_STEPS},
            },
        ),
        **_of("finial.api.server.fleet.v1.Fleet", {"GetRollout": _ADMIN, "GetDelivery": _ADMIN}),
        **_of("finial.api.server.push.v1.Push", {"Subscribe": _AGENT}),
        **_of("grpc.health.v1.Health", {"Check": _LOCAL}),
    }
)
"""The roles that may call each method; a method that is not here may be called by nobody. They do not add up:
an administrator is refused what agents call, since what is answered is about the agent."""


def allowed(path: str) -> frozenset[Role]:
    """The roles that may call a method.

    Args:
        path: `/package.Service/Method`.
    """
    return TABLE.get(path, frozenset())
