"""What a trust domain must do for its nodes and workloads, whoever made its server and its agent.

That a scenario holds between SPIRE's own parts keeps it honest; that it holds with one of ours in the place
of one of them is the proof.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from finial.rpc import StatusCode
from support.interop_process import Answer
from support.site import AgentDaemon, ServerDaemon
from support.workloads import NODE, Pair, Workload, register, workloads

_SCENARIO_SECONDS = 100.0
# Of an SVID that has to be renewed soon, yet not at once: it begins ten seconds back, agents renew it when
# half of its life is left, a tenth of that earlier or later; what is renewed at once ends in the same second.
_TTL_SECONDS = 20
_PACE_MS = 10  # between connections of a dialler
_ENTRIES = 1200
_EVERY = 100  # so many of them apart are the workload's
_RENEWAL_SECONDS = 40.0  # for an SVID of thirty seconds


class MakeAgent(Protocol):
    """Makes an agent that has not started yet."""

    def __call__(self, *, server: ServerDaemon, token: str, bundle: Path) -> AgentDaemon:
        """See `AgentDaemon`."""


@dataclass
class Domain:
    """A running trust domain of one node, with both workloads on it."""

    agent: AgentDaemon
    pair: Pair

    @property
    def server(self) -> ServerDaemon:
        """Its server."""
        return self.agent.server

    def id(self, path: str) -> str:
        """The ID with this path."""
        return f"spiffe://{self.server.trust_domain}{path}"


class Scenario(Protocol):
    """What a trust domain is put through."""

    __name__: str

    def __call__(self, domain: Domain, /) -> Coroutine[Any, Any, None]:
        """Fails if something does not hold."""


@asynccontextmanager
async def running(server: ServerDaemon, make_agent: MakeAgent, spiffepeer: Path) -> AsyncIterator[Domain]:
    """The trust domain of a server that has not started yet."""
    async with server:
        token, bundle = await server.control.token(agent=NODE), await server.bundle_file()
        async with (
            make_agent(server=server, token=token, bundle=bundle) as agent,
            workloads(spiffepeer) as pair,
        ):
            yield Domain(agent, pair)


def run(scenario: Scenario, server: ServerDaemon, make_agent: MakeAgent, *, spiffepeer: Path) -> None:
    """Put the trust domain of a server that has not started yet through a scenario."""

    async def main() -> None:
        async with (
            asyncio.timeout(_SCENARIO_SECONDS),
            running(server, make_agent, spiffepeer) as domain,
        ):
            await scenario(domain)

    asyncio.run(main())


def check_identity(news: Answer, workload: Workload, domain: Domain) -> None:
    """The one SVID of this workload came, with the bundle that it verifies under."""
    [svid] = news["svids"]
    assert svid["id"] == domain.id(workload.name)
    assert svid["hint"] == workload.hint
    assert svid["refused"] == ""
    assert svid["chain"] >= 1
    assert list(news["bundles"]) == [domain.server.trust_domain]
    assert news["bundles"][domain.server.trust_domain] >= 1


async def check_mtls(domain: Domain, *, server: Workload, client: Workload) -> None:
    """Many new connections with the right IDs, and none with a wrong one, on either side."""
    agent, right, wrong = domain.agent, domain.id(server.name), domain.id("/other")
    target = await _serve(domain, server, name="s", expect=domain.id(client.name))
    answer = await client.order("call", agent, target=target, expect=right, text="hello")
    assert (answer["peer_id"], answer["text"]) == (right, f"{domain.id(client.name)} hello")
    await client.order("dial", agent, name="d", target=target, expect=right, every_ms=_PACE_MS)
    await client.process.order("dialled", name="d", count=20)
    dialled = await client.process.order("stop", name="d")
    assert dialled["failed"] == 0, dialled["errors"]
    assert "error" in await client.attempt("call", agent, target=target, expect=wrong)
    closed = await _serve(domain, server, name="closed", expect=wrong)
    assert "error" in await client.attempt("call", agent, target=closed, expect=right)
    assert (await server.process.order("stop", name="closed"))["ok"] == 0
    await server.process.order("stop", name="s")


async def _serve(domain: Domain, server: Workload, *, name: str, expect: str) -> str:
    served = await server.order("serve", domain.agent, name=name, expect=expect, target="127.0.0.1:0")
    return str(served["address"])


async def clients(domain: Domain) -> None:
    """Both fetch and watch, speak mTLS both ways, and lose their identity with its entry, each alone."""
    agent, pair, control = domain.agent, domain.pair, domain.server.control
    ids = await register(domain.server, *pair.both)
    for each in pair.both:
        check_identity(await each.watch(agent), each, domain)
        check_identity(await each.order("fetch", agent), each, domain)
    await check_mtls(domain, server=pair.go, client=pair.py)
    await check_mtls(domain, server=pair.py, client=pair.go)
    before, failures = await pair.go.watched()
    await control.delete([ids[pair.go.name]])
    assert (await pair.go.failure(failures + 1))["code"] == StatusCode.PERMISSION_DENIED
    check_identity(await pair.py.order("fetch", agent), pair.py, domain)
    await register(domain.server, pair.go)
    check_identity(await pair.go.update(before + 1), pair.go, domain)


async def rotation(domain: Domain) -> None:
    """Both are told of a new SVID before the old one ends, and no connection fails over it."""
    agent, pair = domain.agent, domain.pair
    await register(domain.server, *pair.both, ttl=_TTL_SECONDS)
    for each in pair.both:
        check_identity(await each.watch(agent), each, domain)
    for one, other in ((pair.go, pair.py), (pair.py, pair.go)):
        target = await _serve(domain, one, name="s", expect=domain.id(other.name))
        await other.order(
            "dial", agent, name="d", target=target, expect=domain.id(one.name), every_ms=_PACE_MS
        )
    for each in pair.both:
        [old], number = (await each.update(1))["svids"], 2
        while (news := await each.update(number))["svids"][0]["serial"] == old["serial"]:
            number += 1
        check_identity(news, each, domain)
        [new] = news["svids"]
        assert new["not_before"] < old["not_after"] < new["not_after"]
    for each in pair.both:
        await each.process.order("dialled", name="d", own=2, peer=2)
        dialled = await each.process.order("stop", name="d")
        assert dialled["failed"] == 0, dialled["errors"]


async def many_entries(domain: Domain) -> None:
    """All of 1,200 entries arrive: those of a workload, spread among them, at that workload."""
    control, go = domain.server.control, domain.pair.go
    await control.create(
        *(
            control.entry(
                f"/many/{number}",
                parent=NODE,
                selectors=[go.selector if number % _EVERY == 0 else f"unix:uid:{100_000 + number}"],
            )
            for number in range(_ENTRIES)
        )
    )
    await domain.agent.synced(_ENTRIES)
    expected = {domain.id(f"/many/{number}") for number in range(0, _ENTRIES, _EVERY)}
    news, number = await go.watch(domain.agent), 1
    while {svid["id"] for svid in news["svids"]} != expected:
        number += 1
        news = await go.update(number)
    assert [svid["refused"] for svid in news["svids"]] == [""] * len(expected)


async def renewal(domain: Domain) -> None:
    """The agent renews its own SVID of thirty seconds, more than once, and goes on with the new one."""
    agent, control, go = domain.agent, domain.server.control, domain.pair.go
    [before] = await control.agents()
    mark = len(agent.lines)
    for _ in range(2):
        mark = await agent.renewed(after=mark, patience=_RENEWAL_SECONDS)
    await register(domain.server, go)
    check_identity(await go.watch(agent), go, domain)
    [after] = await control.agents()
    assert after.x509svid_serial_number != before.x509svid_serial_number
    assert after.x509svid_expires_at > before.x509svid_expires_at


async def ban(domain: Domain) -> None:
    """A banned agent stops by itself, serves nobody any more, and does not get in again."""
    await _sees_out(domain, domain.server.control.ban(domain.agent.id))
    [node] = await domain.server.control.agents()
    assert node.banned
    mark = len(domain.agent.lines)
    await domain.agent.launch()
    await domain.agent.refused(after=mark)


async def evict(domain: Domain) -> None:
    """An evicted agent, whose token is used up, stops by itself and serves nobody any more."""
    await _sees_out(domain, domain.server.control.evict(domain.agent.id))
    assert await domain.server.control.agents() == []


async def _sees_out(domain: Domain, measure: Awaitable[None]) -> None:
    go = domain.pair.go
    await register(domain.server, go)
    check_identity(await go.watch(domain.agent), go, domain)
    _, failures = await go.watched()
    await measure
    assert await domain.agent.ended() != 0, domain.agent.explain("ended as if all were well")
    await go.failure(failures + 1)
    assert "error" in await go.attempt("fetch", domain.agent)


async def restart(domain: Domain) -> None:
    """An agent that starts again with what it kept needs no new token, with or without a goodbye."""
    agent, pair = domain.agent, domain.pair
    await register(domain.server, *pair.both)
    for each in pair.both:
        check_identity(await each.watch(agent), each, domain)
    for end in (agent.stop, agent.kill):
        before = {each.name: (await each.watched())[0] for each in pair.both}
        await end()
        await agent.start()
        for each in pair.both:
            check_identity(await each.update(before[each.name] + 1), each, domain)


async def server_restart(domain: Domain) -> None:
    """A server that is killed knows everything when it is back, and its agent goes on by itself."""
    agent, pair, server = domain.agent, domain.pair, domain.server
    await register(server, pair.go)
    check_identity(await pair.go.watch(agent), pair.go, domain)
    bundle = await server.control.bundle()
    await server.kill()
    check_identity(await pair.go.order("fetch", agent), pair.go, domain)
    await server.start()
    assert await server.control.bundle() == bundle
    [node] = await server.control.agents()
    assert node.id == server.control.id(agent.id)
    await register(server, pair.py)
    check_identity(await pair.py.watch(agent), pair.py, domain)
    await check_mtls(domain, server=pair.go, client=pair.py)


EVERY: tuple[Scenario, ...] = (clients, rotation, many_entries, renewal, ban, evict, restart, server_restart)
"""All of them; each has a trust domain of its own, whose agents' SVIDs live for thirty seconds."""
