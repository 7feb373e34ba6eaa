"""The server's side of the Workload API, the profile of WIT-SVIDs, which is optional and incubating."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from finial.core import jwk
from finial.core.keys import public_key_der
from finial.rpc import StatusCode
from finial.wire.gen import workload as pb
from support import tokens
from support.agent_world import ME, Agent, World, on_agent
from support.wit_calls import API, on_wits, opened, proven

SECOND = pb.WITSVIDRequest(spiffe_id="spiffe://example.org/second")
AWHILE = timedelta(seconds=6)


@pytest.mark.spec("WAPI-03", "WAPI-55", "STAB-03", "STAB-06")
@on_agent
async def test_without_the_setting_both_methods_are_not_there(w: World, running: Agent) -> None:
    w.server.wit.opt_in()
    for request, method in (
        (pb.WITSVIDRequest(), API.FetchWITSVID),
        (pb.WITBundlesRequest(), API.FetchWITBundles),
    ):
        async with opened(w, running, request, method) as mine:
            assert (await mine.end()).code is StatusCode.UNIMPLEMENTED


@pytest.mark.spec("WAPI-58", "WAPI-59", "WAPI-77", "WIT-35", "WIT-59")
@on_wits
async def test_each_identity_has_a_token_and_its_own_key(w: World, running: Agent) -> None:
    w.server.add("e2", "/second", ME, hint="two")
    await w.pass_time(AWHILE)
    async with opened(w, running) as mine:
        message = await mine.next()
        while len(message.svids) < 2:
            message = await mine.next()
    assert [each.spiffe_id for each in message.svids] == [
        "spiffe://example.org/web",
        "spiffe://example.org/second",
    ]
    assert [each.hint for each in message.svids] == ["", "two"]
    for each in message.svids:
        assert public_key_der(proven(w, each).svid.key) == public_key_der(
            jwk.read_private(json.loads(each.wit_svid_key)).public_key()
        )
    assert len({each.wit_svid_key for each in message.svids}) == 2


@pytest.mark.spec("WAPI-57")
@on_wits
async def test_one_identity_can_be_asked_for(w: World, running: Agent) -> None:
    w.server.add("e2", "/second", ME)
    await w.pass_time(AWHILE)
    async with opened(w, running, SECOND) as mine:
        (svid,) = (await mine.next()).svids
    assert svid.spiffe_id == SECOND.spiffe_id


@pytest.mark.spec("WAPI-60")
@on_wits
async def test_a_hint_is_sent_once(w: World, running: Agent) -> None:
    for number in (2, 3):
        w.server.add(f"e{number}", f"/{number}", ME, hint="same", created_at=2_000 + number)
    await w.pass_time(AWHILE)
    async with opened(w, running) as mine:
        message = await mine.next()
        while len(message.svids) < 2:
            message = await mine.next()
        assert [each.hint for each in message.svids] == ["", "same"]
        assert message.svids[1].spiffe_id == "spiffe://example.org/2"


@pytest.mark.spec("WAPI-61", "WAPI-66")
@on_wits
async def test_who_is_entitled_to_nothing_is_denied(w: World, running: Agent) -> None:
    requests = (
        (pb.WITSVIDRequest(), API.FetchWITSVID),
        (pb.WITBundlesRequest(), API.FetchWITBundles),
    )
    async with opened(w, running, *requests[0]) as svids, opened(w, running, *requests[1]) as bundles:
        await svids.next()
        await bundles.next()
        w.server.entries.clear()
        assert (await svids.end()).code is StatusCode.PERMISSION_DENIED
        assert (await bundles.end()).code is StatusCode.PERMISSION_DENIED
    for request, method in requests:
        async with opened(w, running, request, method) as mine:
            assert (await mine.end()).code is StatusCode.PERMISSION_DENIED


@pytest.mark.spec("WAPI-64", "WAPI-65", "WIT-46")
@on_wits
async def test_the_own_keys_are_there_as_a_key_set_in_a_text(w: World, running: Agent) -> None:
    async with opened(w, running, pb.WITBundlesRequest(), API.FetchWITBundles) as mine:
        message = await mine.next()
        document = message.bundles["spiffe://example.org"]
        assert isinstance(document, str)
        assert [each["kid"] for each in json.loads(document)["keys"]] == [w.server.wit.active.key_id]
        assert tokens.authority(w.server.wit.active.key_id)[0].key == jwk.read_public(
            json.loads(document)["keys"][0]
        )
        second = w.server.wit.prepare()
        message = await mine.next()
        kids = [each["kid"] for each in json.loads(message.bundles["spiffe://example.org"])["keys"]]
        assert kids == [w.server.wit.active.key_id, second.key_id]


@pytest.mark.spec("EP-09", "EP-25", "EP-36")
@on_wits
async def test_the_header_is_demanded_here_too(w: World, running: Agent) -> None:
    for request, method in (
        (pb.WITSVIDRequest(), API.FetchWITSVID),
        (pb.WITBundlesRequest(), API.FetchWITBundles),
    ):
        async with opened(w, running, request, method, metadata=()) as mine:
            assert (await mine.end()).code is StatusCode.INVALID_ARGUMENT
