"""Tokens by the commands that people use, against a server and an agent as processes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from finial.core.revision import STANDARDS
from support.finial_process import FINIAL, FinialAgent, FinialServer

_SECONDS = 60.0  # for each test; reached only by a bug
_WEB = "spiffe://example.org/web"
_OPT_IN = f"--incubating-wit-svid={STANDARDS}"


@dataclass
class Site:
    """A server and an agent with an entry for this user."""

    server: FinialServer
    agent: FinialAgent

    async def run(self, *command: str, told: str = "") -> tuple[int, str, str]:
        """A command on the socket that it is for: how it ended, and what it printed."""
        socket = self.server.socket if command[0] == "server" else self.agent.socket
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *FINIAL, *command, "--socket", str(socket), stdin=pipe, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate(told.encode())
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def good(self, *command: str, told: str = "") -> str:
        """What a command printed that has to succeed."""
        code, out, err = await self.run(*command, told=told)
        assert code == 0, err
        return out


@asynccontextmanager
async def _site(folder: Path, *options: str) -> AsyncIterator[Site]:
    async with asyncio.timeout(_SECONDS), FinialServer(folder / "s", *options) as server:
        control = server.control
        token, bundle = await control.token(agent="/node"), await server.bundle_file()
        selectors = [f"unix:uid:{os.getuid()}"]
        await control.create(control.entry("/web", parent="/node", selectors=selectors))
        async with FinialAgent(folder / "a", *options, server=server, token=token, bundle=bundle) as agent:
            yield Site(server, agent)


def test_a_token_is_fetched_minted_and_validated(sockets: Path) -> None:
    async def main() -> None:
        async with _site(sockets) as site:
            fetched = json.loads(
                await site.good("agent", "api", "fetch", "jwt", "--audience=reports", "--output=json")
            )
            [mine] = fetched[0]["svids"]
            assert mine["spiffe_id"] == _WEB
            minted = await site.good("server", "jwt", "mint", f"--spiffe-id={_WEB}", "--audience=reports")
            for token in (mine["svid"], minted.strip()):
                shown = await site.good(
                    "agent", "api", "validate", "jwt", "--audience=reports", "--svid=-", told=token
                )
                assert _WEB in shown
                code, _, why = await site.run(
                    "agent", "api", "validate", "jwt", "--audience=other", "--svid=-", told=token
                )
                assert code == 1
                assert "not for this validator" in why
                assert token not in why
            for log in (site.server, site.agent):
                assert not [line for line in log.lines if mine["svid"] in line or minted.strip() in line]

    asyncio.run(main())


def test_a_key_that_was_rotated_by_hand_signs_the_next_token(sockets: Path) -> None:
    async def main() -> None:
        async with _site(sockets) as site:
            before = await _signer(site)
            told = await site.good("server", "authority", "rotate", "--kind=jwt", "--force")
            after = await _signer(site)
            assert before != after
            assert before[:8] in told
            states = json.loads(await site.good("server", "authority", "show", "--kind=jwt", "--output=json"))
            assert after in json.dumps(states)

    asyncio.run(main())


async def _signer(site: Site) -> str:
    """The id of the key that signs a token for an audience that nobody has asked for before."""
    audience = os.urandom(8).hex()
    out = await site.good("agent", "api", "fetch", "jwt", f"--audience={audience}", "--output=json")
    return str(_header(json.loads(out)[0]["svids"][0]["svid"])["kid"])


def _header(token: str) -> dict[str, object]:
    from finial.core import base64url  # noqa: PLC0415 - what a person would do by hand

    header: dict[str, object] = json.loads(base64url.decode(token.partition(".")[0]))
    return header


def test_incubating_tokens_need_both_sides_to_opt_in(sockets: Path) -> None:
    async def main() -> None:
        async with _site(sockets) as site:
            code, _, why = await site.run("agent", "api", "fetch", "wit")
            assert code == 1
            assert "profile of it is on" in why
            code, _, why = await site.run("server", "wit", "mint", f"--spiffe-id={_WEB}")
            assert code == 1
            assert "--incubating-wit-svid" in why

    asyncio.run(main())


def test_incubating_tokens_for_those_who_opted_in(sockets: Path) -> None:
    async def main() -> None:
        async with _site(sockets, _OPT_IN) as site:
            fetched = json.loads(await site.good("agent", "api", "fetch", "wit", "--output=json"))
            [mine] = fetched[0]["svids"]
            assert mine["spiffe_id"] == _WEB
            assert _header(mine["wit_svid"])["typ"] == "wit+jwt"
            assert "d" in json.loads(mine["wit_svid_key"])
            document = json.loads(await site.good("server", "bundle", "show", "--format=spiffe"))
            assert {key["use"] for key in document["keys"]} == {"x509-svid", "jwt-svid", "wit-svid"}

    asyncio.run(main())


@pytest.mark.spec("STAB-03")
def test_another_revision_is_refused(sockets: Path) -> None:
    async def main() -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *FINIAL, "server", "run", "--trust-domain=example.org", "--data-dir", str(sockets / "d"),
            "--incubating-wit-svid=2020-01-01", stderr=pipe,
        )  # fmt: skip
        _, err = await process.communicate()
        assert process.returncode == 1
        assert STANDARDS in err.decode()

    asyncio.run(main())
