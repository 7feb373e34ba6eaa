"""What the LocalAuthority service refuses, in the codes and words of SPIRE."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from finial.rpc import Method, RpcError, StatusCode
from finial.server.ca.orders import authority_id_of
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from finial.wire.status import reason_id
from support.authority_world import SERVICE, authorities


def test_what_is_ordered_of_the_wrong_authority(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            first = authority_id_of(world.signer)
            prepared = await world.prepare()
            taint, revoke = SERVICE.TaintX509Authority, SERVICE.RevokeX509Authority
            activate = SERVICE.ActivateX509Authority
            cases: tuple[tuple[Method[Any, Any], object, int, str], ...] = (
                (activate, pb.ActivateX509AuthorityRequest(), 3, "no authority ID provided"),
                (
                    activate,
                    pb.ActivateX509AuthorityRequest(authority_id="00"),
                    3,
                    "unexpected authority ID",
                ),
                (
                    taint,
                    pb.TaintX509AuthorityRequest(authority_id=first),
                    3,
                    "unable to taint current local authority",
                ),
                (
                    taint,
                    pb.TaintX509AuthorityRequest(authority_id=prepared),
                    3,
                    "only Old local authorities can be tainted: unsupported local authority status: PREPARED",
                ),
                (
                    revoke,
                    pb.RevokeX509AuthorityRequest(),
                    3,
                    "invalid authority ID: no authority ID provided",
                ),
            )
            for method, request, code, message in cases:
                assert await world.refused(method, request) == (code, message)

    asyncio.run(main())


def test_what_is_ordered_in_the_wrong_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            first = authority_id_of(world.signer)
            await world.activate(await world.prepare())
            taint, activate = SERVICE.TaintX509Authority, SERVICE.ActivateX509Authority
            internal = StatusCode.INTERNAL
            assert await world.refused(activate, pb.ActivateX509AuthorityRequest(authority_id=first)) == (
                internal,
                "only Prepared authorities can be activated: unsupported local authority status: OLD",
            )
            assert await world.unrevoked(first) == (
                internal,
                "failed to revoke X.509 authority: it is not possible to revoke an untainted root CA",
            )
            await world.taint(first)
            again = pb.TaintX509AuthorityRequest(authority_id=first)
            assert await world.refused(taint, again) == (
                internal,
                "failed to taint X.509 authority: root CA is already tainted",
            )
            await world.revoke(first)
            assert await world.unrevoked(first) == (
                internal,
                "failed to revoke X.509 authority: no root CA found with provided subject key ID",
            )
            with pytest.raises(RpcError) as caught:
                await world.revoke(first)
            assert reason_id(caught.value) == "ca-authority-gone"

    asyncio.run(main())


def test_what_is_not_there_yet_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            upstream = StatusCode.FAILED_PRECONDITION, "upstream authority is not configured"
            taint, revoke = SERVICE.TaintX509UpstreamAuthority, SERVICE.RevokeX509UpstreamAuthority
            assert await world.refused(taint, pb.TaintX509UpstreamAuthorityRequest()) == upstream
            assert await world.refused(revoke, pb.RevokeX509UpstreamAuthorityRequest()) == upstream
            for kind in ("JWT", "WIT"):
                text = StatusCode.UNIMPLEMENTED, f"{kind}-SVID functionality is not yet implemented"
                for step, what in (("Get", "State"), ("Prepare", ""), ("Activate", ""), ("Taint", "")):
                    name = f"{step}{kind}Authority{what}"
                    method: Method[Any, Any] = getattr(SERVICE, name)
                    assert await world.refused(method, getattr(pb, f"{name}Request")()) == text

    asyncio.run(main())
