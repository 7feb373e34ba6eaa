"""The Push service: who says hello gets a stream."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from finial.rpc import RpcError, StatusCode
from finial.server.api.push import PATIENCE, PushService
from finial.server.policy import Role, allowed
from finial.wire.gen import finial_api_server_push_v1 as push_pb
from finial.wire.gen import spire_api_server_agent_v1 as agent_pb
from finial.wire.gen import spire_api_types as types
from finial.wire.statuses import Denial, denial
from support.push_agent import Agent
from support.push_world import Site, World, pushing
from support.rpc import eventually, run
from support.server_app import DOMAIN, AgentIdentity, RunningServer, an_entry, running


def test_what_is_served_is_for_agents() -> None:
    (endpoint,) = PushService(World().ground).endpoints()
    assert endpoint.stream
    assert endpoint.method.path == push_pb.Push.Subscribe.path
    assert allowed(endpoint.method.path) == {Role.AGENT}


def test_who_says_hello_is_told_what_it_may_serve() -> None:
    async def main() -> None:
        async with pushing() as site:
            site.world.put("a")
            agent = await site.synced()
            assert agent.entries == site.world.truth
            await agent.call.half_close()
            assert await agent.call.receive() is None
            await eventually(lambda: not site.world.hub.connected)

    run(main())


async def _nobody(site: Site) -> bool:
    return not site.world.hub.connected and not site.world.fleet.streams


@pytest.mark.parametrize(
    "step",
    [
        {"applied": push_pb.Applied(number=1)},
        {"held": push_pb.Held()},
        {"report": push_pb.Report()},
    ],
)
def test_who_begins_otherwise_is_refused(step: dict[str, object]) -> None:
    async def main() -> None:
        async with pushing() as site:
            agent = await site.agent()
            await agent.say(**step)
            error = await agent.ends()
            assert (error.code, error.message) == (
                StatusCode.INVALID_ARGUMENT, "the agent does not say hello first",
            )  # fmt: skip
            assert await _nobody(site)

    run(main())


def test_who_says_nothing_and_goes_is_refused() -> None:
    async def main() -> None:
        async with pushing() as site:
            agent = await site.agent()
            await agent.call.half_close()
            assert (await agent.ends()).code is StatusCode.INVALID_ARGUMENT
            assert await _nobody(site)

    run(main())


def test_who_says_nothing_is_not_waited_for() -> None:
    async def main() -> None:
        async with pushing() as site:
            agent = await site.agent()
            await site.world.clock.advance(PATIENCE - timedelta(milliseconds=1))
            await site.world.clock.advance(timedelta(milliseconds=1))
            assert (await agent.ends()).code is StatusCode.DEADLINE_EXCEEDED
            assert await _nobody(site)

    run(main())


def test_who_is_banned_before_it_says_hello_is_told_nothing() -> None:
    async def main() -> None:
        async with pushing() as site:
            agent = await site.agent()
            site.world.ban()
            await agent.hello()
            assert denial(await agent.ends()) is Denial.AGENT_BANNED
            assert await _nobody(site)

    run(main())


# In a whole server.


def _message(agent: AgentIdentity) -> types.SPIFFEID:
    return types.SPIFFEID(trust_domain=DOMAIN.name, path=agent.id.removeprefix("spiffe://example.org"))


async def _ban(server: RunningServer, agent: AgentIdentity) -> None:
    await server.admin.unary(agent_pb.Agent.BanAgent, agent_pb.BanAgentRequest(id=_message(agent)))


def test_an_agent_is_told_what_operators_create_until_it_is_banned(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            identity = await server.join()
            channel = await server.channel(identity.pair)
            async with channel.call(push_pb.Push.Subscribe) as call:
                agent = Agent(call)
                await agent.hello()
                (page,) = await agent.change()
                assert [bundle.trust_domain for bundle in page.bundles] == ["example.org"]
                parent = identity.id.removeprefix("spiffe://example.org")
                (entry_id,) = await server.create(an_entry("/web", parent=parent))
                await agent.change()
                assert agent.entries.keys() == {entry_id}
                again = await server.channel(identity.pair)
                async with again.call(push_pb.Push.Subscribe) as next_call:
                    other = Agent(next_call)
                    await other.hello(like=agent)
                    (page,) = await other.change()
                    assert not page.entries
                    await _ban(server, identity)
                    assert denial(await other.ends()) is Denial.AGENT_BANNED
                assert denial(await agent.ends()) is Denial.AGENT_BANNED

    run(main())


def test_a_stream_ends_with_the_svid_that_began_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            identity = await server.join()
            channel = await server.channel(identity.pair)
            end = identity.leaf.not_valid_after_utc
            async with channel.call(push_pb.Push.Subscribe) as call:
                agent = Agent(call)
                await agent.hello()
                await agent.change()
                left = end - server.clock.now()
                server.clock.jump(left - timedelta(seconds=1))  # type: ignore[attr-defined]  # a ManualClock
                (entry,) = await server.create(an_entry("/web", parent="/spire/agent/nobody"))
                assert entry
                await server.clock.advance(timedelta(seconds=61))  # type: ignore[attr-defined]  # likewise
                assert denial(await agent.ends()) is Denial.AGENT_EXPIRED

    run(main())


def test_nobody_but_agents_may_subscribe(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as server:
            for channel in (await server.channel(), server.admin):
                async with channel.call(push_pb.Push.Subscribe) as call:
                    with pytest.raises(RpcError) as caught:
                        await call.receive()
                assert caught.value.code is StatusCode.PERMISSION_DENIED

    run(main())
