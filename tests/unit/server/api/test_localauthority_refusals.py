"""What the LocalAuthority service refuses, in the codes and words of SPIRE."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from finial.rpc import Method, RpcError, StatusCode
from finial.server.ca.kinds import authority_id_of
from finial.wire.force import FORCE
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
        async with authorities(tmp_path / "db", without=("JWT", "WIT")) as world:
            upstream = StatusCode.FAILED_PRECONDITION, "upstream authority is not configured"
            taint, revoke = SERVICE.TaintX509UpstreamAuthority, SERVICE.RevokeX509UpstreamAuthority
            assert await world.refused(taint, pb.TaintX509UpstreamAuthorityRequest()) == upstream
            assert await world.refused(revoke, pb.RevokeX509UpstreamAuthorityRequest()) == upstream
            for kind, text in (
                ("JWT", "JWT functionality is disabled"),
                ("WIT", "WIT-SVID functionality is not yet implemented"),
            ):
                for step, what in zip(
                    ("Get", "Prepare", "Activate", "Taint", "Revoke"), ("State", "", "", "", ""), strict=True
                ):
                    name = f"{step}{kind}Authority{what}"
                    method: Method[Any, Any] = getattr(SERVICE, name)
                    refused = await world.refused(method, getattr(pb, f"{name}Request")())
                    assert refused == (StatusCode.UNIMPLEMENTED, text)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["JWT", "WIT"])
def test_what_is_refused_of_keys_for_tokens(tmp_path: Path, kind: str) -> None:
    async def main() -> None:
        async with authorities(tmp_path / "db") as world:
            first, invalid, internal = world.active(kind), StatusCode.INVALID_ARGUMENT, StatusCode.INTERNAL
            prepared = await world.prepare(kind)
            for step, authority_id, message in (
                ("Activate", "", "no authority ID provided"),
                ("Activate", first, "unexpected authority ID"),
                ("Taint", "", "no authority ID provided"),
                ("Taint", "none", "unexpected authority ID"),
                ("Taint", first, "unable to taint current local authority"),
                (
                    "Taint",
                    prepared,
                    "only Old local authorities can be tainted: unsupported local authority status: PREPARED",
                ),
                ("Revoke", "", "invalid authority ID: no authority ID provided"),
                ("Revoke", first, "invalid authority ID: unable to use current authority"),
                ("Revoke", prepared, "invalid authority ID: unable to use a prepared key"),
                (
                    "Revoke",
                    "none",
                    f"invalid authority ID: no {kind} authority found with provided authority ID",
                ),
                # What is of another kind is not there.
                ("Taint", world.published[0], "unexpected authority ID"),
            ):
                assert await world.disordered(step, kind, authority_id) == (invalid, message)
            await world.activate(prepared, kind)
            assert await world.disordered("Activate", kind, first) == (
                internal,
                "only Prepared authorities can be activated: unsupported local authority status: OLD",
            )
            assert await world.unrevoked(first, kind) == (
                internal,
                f"failed to revoke {kind} authority: it is not possible to revoke an untainted key",
            )
            await world.taint(first, kind)
            assert await world.disordered("Taint", kind, first) == (
                internal,
                f"failed to taint {kind} authority: key is already tainted",
            )
            await world.revoke(first, kind, metadata=[FORCE])
            gone = f"{kind} authority: no {kind} Key found with provided key ID"
            assert await world.unrevoked(first, kind) == (internal, f"failed to revoke {gone}")
            assert await world.disordered("Taint", kind, first) == (internal, f"failed to taint {gone}")

    asyncio.run(main())
