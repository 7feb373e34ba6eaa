from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from finial.cli.server.authority_view import (
    ChoiceError,
    Plan,
    View,
    behind_line,
    choose,
    names,
    plan,
    resting_line,
    trusting,
)
from finial.core.x509cert import Certificate
from finial.server.ca.kinds import KindName, authority_id_of
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb
from finial.wire.gen import spire_api_server_localauthority_v1 as pb
from support.authorities import DAY, root, token_key
from support.clock import START

HOUR = timedelta(hours=1)
Rollout = fleet_pb.GetRolloutResponse


def _id(name: str) -> str:
    return authority_id_of(root(name))


def _state(**slots: str) -> pb.GetX509AuthorityStateResponse:
    states = {
        key: pb.AuthorityState(authority_id=_id(name), expires_at=int(root(name).not_after.timestamp()))
        for key, name in slots.items()
    }
    return pb.GetX509AuthorityStateResponse(**states)


def _view(*published: str, tainted: str = "", **slots: str) -> View:
    return View(
        kind=KindName.X509,
        state=_state(**slots),
        authorities=tuple(map(root, published)),
        tainted=frozenset(map(_id, tainted.split())),
    )


def test_what_each_authority_is() -> None:
    view = _view("a", "b", "c", active="a", prepared="b", old="d")
    assert [view.status(authority_id) for authority_id, _ in view.rows()] == [
        "active",
        "prepared",
        "revoked",
        "published",
    ]
    assert [authority_id for authority_id, _ in view.rows()] == [_id(name) for name in "abdc"]
    assert {end for _, end in view.rows()} == {int((START + DAY).timestamp())}
    assert _view("a", "d", active="a", old="d").status(_id("d")) == "old"


@pytest.mark.parametrize(
    ("view", "after", "wanted"),
    [
        # Nothing was begun.
        (_view("a", active="a"), 5 * HOUR, Plan(resumed=False)),
        (_view("a", active="a"), timedelta(0), Plan(resumed=False)),
        # One is prepared, by itself or by a run that was broken off.
        (_view("a", "b", active="a", prepared="b"), 5 * HOUR, Plan(resumed=False, successor=_id("b"))),
        (_view("a", "b", active="b", prepared="a"), timedelta(0), Plan(resumed=False, successor=_id("a"))),
        # An authority has replaced another one by itself, hours after it was made.
        (_view("a", "b", active="b", old="a"), 8 * HOUR, Plan(resumed=False, taint=_id("a"))),
        # By an order, and the run was broken off before the taint, and behind it.
        (_view("a", "b", active="b", old="a"), HOUR / 2, Plan(resumed=True, taint=_id("a"))),
        (_view("a", "b", tainted="a", active="b", old="a"), HOUR / 2, Plan(resumed=True)),
        (_view("a", "c", "b", tainted="a c", active="b", old="a"), HOUR / 2, Plan(resumed=True)),
        # It was broken off long ago, or before anything new was used.
        (_view("a", "b", tainted="a", active="b", old="a"), 2 * HOUR, Plan(resumed=False)),
        # All has been done.
        (_view("b", active="b", old="a"), timedelta(0), Plan(resumed=False)),
        (_view("b", tainted="b", active="b"), timedelta(0), Plan(resumed=False)),
        (_view(active="b", old="a"), timedelta(0), Plan(resumed=False)),
    ],
)
def test_where_a_rotation_is(view: View, after: timedelta, wanted: Plan) -> None:
    assert plan(view, START + after) == wanted


def test_a_new_rotation_is_begun_whatever_there_is() -> None:
    view = _view("a", "b", active="a", prepared="b")
    assert plan(view, START, new=True) == Plan(resumed=False)
    view = _view("a", "b", tainted="a", active="b", old="a")
    assert plan(view, START, new=True) == Plan(resumed=False)


def test_an_authority_of_minutes_is_new_for_seconds_only() -> None:
    certificate = root("short", START, timedelta(minutes=6))
    state = pb.AuthorityState(authority_id=authority_id_of(certificate))
    view = View(
        kind=KindName.X509,
        state=pb.GetX509AuthorityStateResponse(active=state),
        authorities=(certificate,),
    )
    assert view.fresh(START)
    assert not view.fresh(START + timedelta(minutes=2))  # when it is activated by itself


def test_a_key_is_as_old_as_a_certificate_with_the_same_end_would_be() -> None:
    state = pb.GetJWTAuthorityStateResponse(active=pb.AuthorityState(authority_id="a"))
    view = View(kind=KindName.JWT, state=state, authorities=(token_key("a"),), life=DAY)
    assert view.fresh(START + HOUR / 2)
    assert not view.fresh(START + 2 * HOUR)
    assert not replace(view, life=None).fresh(START)  # nobody knows
    endless = replace(view, authorities=(replace(token_key("a"), expires_at=None),))
    assert not endless.fresh(START)
    assert list(endless.rows()) == [("a", 0)]


KNOWN = ["abcd01", "abcd02", "ef", "Xy", "XY90"]


@pytest.mark.parametrize(
    ("given", "candidates", "wanted"),
    [
        (None, ["ef"], "ef"),
        ("abcd01", [], "abcd01"),
        (" ABCD02 ", ["ef"], "abcd02"),
        ("e", [], "ef"),
        ("Xy", [], "Xy"),
        ("xY9", [], "XY90"),
    ],
)
def test_the_authority_that_is_meant(given: str | None, candidates: list[str], wanted: str) -> None:
    assert choose(given, KNOWN, candidates, what="old") == wanted


@pytest.mark.parametrize(
    ("given", "candidates", "complaint"),
    [
        (None, [], "there is no old authority"),
        (None, ["abcd01", "ef"], "there are several that may be meant: abcd01, ef"),
        ("abcd", ["ef"], "there are several that may be meant: abcd01, abcd02"),
        ("", ["ef"], "there is no authority ''"),
        ("\x1b[2J", ["ef"], r"there is no authority '\x1b[2J'"),
    ],
)
def test_nothing_is_guessed(given: str | None, candidates: list[str], complaint: str) -> None:
    with pytest.raises(ChoiceError) as caught:
        choose(given, KNOWN, candidates, what="old")
    assert caught.value.message == complaint
    assert caught.value.reason.hint


def _laggards(*paths: str, svids: int = 0) -> list[fleet_pb.Laggard]:
    return [fleet_pb.Laggard(agent_id=path and f"spiffe://a.test{path}", svids=svids) for path in paths]


def test_how_many_agents_have_it_and_who_has_not() -> None:
    nobody = Rollout()
    assert trusting(nobody) == "no agents"
    assert behind_line(nobody) == "there are no agents that would have to know the new authority"
    all_of_them = Rollout(live=3)
    assert behind_line(all_of_them) == "agents that have the new authority: 3 of 3"
    some = Rollout(live=50, behind=_laggards("/spire/agent/x/1", "/spire/agent/", "/spire/agent/x/3", "", ""))
    assert behind_line(some) == (
        "agents that have the new authority: 45 of 50 "
        "(behind: x/1, spiffe://a.test/spire/agent/, x/3, and 2 more)"
    )
    assert names(_laggards("")) == ""


def test_how_many_svids_rest_on_the_old_ones_and_where_that_is_not_known() -> None:
    first = Rollout(resting=3, resting_on=_laggards("/spire/agent/x/1", svids=3))
    assert resting_line([first]) == "SVIDs that still rest on the old authority: 3"
    other = Rollout(resting=1, resting_on=_laggards("/spire/agent/x/2", "/spire/agent/x/3"))
    assert resting_line([first, other, other]) == (
        "SVIDs that still rest on the old authority: 5 (not known of: x/2, x/3)"
    )


def test_a_bundle_without_the_active_authority_is_not_new() -> None:
    empty: tuple[Certificate, ...] = ()
    assert not View(kind=KindName.X509, state=_state(active="a"), authorities=empty).fresh(START)
