"""The policy: every method that is served has its roles, and the roles are those of the reference."""

from __future__ import annotations

import pytest

from finial.server.policy import TABLE, Role, allowed
from finial.wire.methods import service

SERVICES = [
    "spire.api.server.agent.v1.Agent",
    "spire.api.server.bundle.v1.Bundle",
    "spire.api.server.entry.v1.Entry",
    "spire.api.server.svid.v1.SVID",
    "spire.api.server.localauthority.v1.LocalAuthority",
    "finial.api.server.fleet.v1.Fleet",
    "finial.api.server.push.v1.Push",
    "grpc.health.v1.Health",
]


def test_the_table_names_only_methods_that_exist() -> None:
    known = {method.path for name in SERVICES for method in service(name).methods.values()}
    assert TABLE.keys() <= known


def test_every_order_about_authorities_has_its_roles() -> None:
    methods = service("spire.api.server.localauthority.v1.LocalAuthority").methods.values()
    assert {method.path for method in methods} <= TABLE.keys()


def test_a_method_that_is_not_in_the_table_is_for_nobody() -> None:
    assert allowed("/spire.api.server.svid.v1.SVID/NewDownstreamX509CA") == frozenset()


@pytest.mark.parametrize(
    ("path", "roles"),
    [
        ("/spire.api.server.agent.v1.Agent/AttestAgent", {Role.ANY}),
        ("/spire.api.server.bundle.v1.Bundle/GetBundle", {Role.ANY}),
        ("/spire.api.server.agent.v1.Agent/RenewAgent", {Role.AGENT}),
        ("/spire.api.server.entry.v1.Entry/SyncAuthorizedEntries", {Role.AGENT}),
        ("/spire.api.server.svid.v1.SVID/BatchNewX509SVID", {Role.AGENT}),
        ("/spire.api.server.bundle.v1.Bundle/GetFederatedBundle", {Role.LOCAL, Role.ADMIN, Role.AGENT}),
        ("/spire.api.server.svid.v1.SVID/NewJWTSVID", {Role.AGENT}),
        ("/spire.api.server.svid.v1.SVID/BatchNewWITSVID", {Role.AGENT}),
        ("/spire.api.server.svid.v1.SVID/MintX509SVID", {Role.LOCAL, Role.ADMIN}),
        ("/spire.api.server.svid.v1.SVID/MintJWTSVID", {Role.LOCAL, Role.ADMIN}),
        ("/spire.api.server.svid.v1.SVID/MintWITSVID", {Role.LOCAL, Role.ADMIN}),
        ("/spire.api.server.entry.v1.Entry/BatchCreateEntry", {Role.LOCAL, Role.ADMIN}),
        ("/finial.api.server.push.v1.Push/Subscribe", {Role.AGENT}),
        (
            "/spire.api.server.localauthority.v1.LocalAuthority/RevokeX509Authority",
            {Role.LOCAL, Role.ADMIN},
        ),
        (
            "/spire.api.server.localauthority.v1.LocalAuthority/GetJWTAuthorityState",
            {Role.LOCAL, Role.ADMIN},
        ),
        ("/finial.api.server.fleet.v1.Fleet/GetDelivery", {Role.LOCAL, Role.ADMIN}),
        ("/grpc.health.v1.Health/Check", {Role.LOCAL}),
    ],
)
def test_roles(path: str, roles: set[Role]) -> None:
    assert allowed(path) == roles
