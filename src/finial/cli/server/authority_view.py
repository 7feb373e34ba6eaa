"""What a command sees of a server's authorities, and what is to be done with them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from finial.cli.server.authority_methods import State
from finial.core.errors import FinialError, Kind, Reason, shown
from finial.core.x509cert import Certificate
from finial.server.ca.kinds import AnyAuthority, KindName, authority_id_of, end_of
from finial.wire.gen import finial_api_server_fleet_v1 as fleet_pb

SHORT: Final = 8
"""Characters of an ID that people read."""

ACTIVE, PREPARED, OLD, REVOKED, PUBLISHED = "active", "prepared", "old", "revoked", "published"
TAINTED = "tainted"

# An authority that is younger than this part of its life, and than an hour, has been activated by an order:
# the server by itself lets a third of a life pass from the publication to the activation.
_FRESH_SHARE, _FRESH_AT_MOST = 24, timedelta(hours=1)

_CHOICE = Reason(
    "authority-choice",
    Kind.INVALID,
    hint="Name it with --authority-id; `finial server authority show` shows them all.",
)
_NONE = {
    what: Reason("authority-none", Kind.INVALID, hint=hint)
    for what, hint in {
        PREPARED: "Make one with: finial server authority prepare",
        OLD: "There is one once another has taken over: prepare and activate that first.",
        TAINTED: "Taint the old one first, with: finial server authority taint",
    }.items()
}


class ChoiceError(FinialError):
    """It is not clear which authority is meant, or there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The authorities of a server at one moment, those of one kind.

    Args:
        kind: Which one.
        state: What is in its slots.
        authorities: Those of the own bundle, in its order.
        tainted: The IDs of those of them that are tainted.
        life: How long authorities live, of all kinds alike; None when it is not known.
        rollouts: How far each has come, by ID; empty when the server does not tell.
    """

    kind: KindName
    state: State
    authorities: tuple[AnyAuthority, ...]
    tainted: frozenset[str] = frozenset()
    life: timedelta | None = None
    rollouts: Mapping[str, fleet_pb.GetRolloutResponse] = field(default_factory=dict)

    @property
    def published(self) -> tuple[str, ...]:
        """The IDs of those that are trusted."""
        return tuple(map(authority_id_of, self.authorities))

    @property
    def active(self) -> str:
        """The ID of the one that signs."""
        return self.state.active.authority_id

    @property
    def prepared(self) -> str:
        """The ID of the successor; empty for none."""
        return self.state.prepared.authority_id

    @property
    def old(self) -> str:
        """The ID of the one that signed before; empty for none."""
        return self.state.old.authority_id

    @property
    def to_revoke(self) -> tuple[str, ...]:
        """The IDs of what is tainted and still trusted."""
        using = {self.active, self.prepared}
        return tuple(each for each in self.published if each in self.tainted and each not in using)

    @property
    def to_taint(self) -> str:
        """The ID of the old one while it is trusted and not tainted; else empty."""
        return self.old if self.old in self.published and self.old not in self.tainted else ""

    def status(self, authority_id: str) -> str:
        """What an authority is, in a word."""
        if authority_id == self.active:
            return ACTIVE
        if authority_id == self.prepared:
            return PREPARED
        if authority_id not in self.published:
            return REVOKED
        return OLD if authority_id == self.old else PUBLISHED

    def rows(self) -> Iterator[tuple[str, int]]:
        """Every authority that there is anything to say of: its ID, and when it ends in Unix seconds."""
        ends = {
            each.authority_id: each.expires_at
            for each in (self.state.active, self.state.prepared, self.state.old)
            if each.authority_id
        }
        for each in self.authorities:
            end = end_of(each)
            ends.setdefault(authority_id_of(each), 0 if end is None else int(end.timestamp()))
        yield from ends.items()

    def fresh(self, now: datetime) -> bool:
        """Whether the active one has been activated by an order a short while ago.

        Args:
            now: Aware.
        """
        for each in self.authorities:
            if authority_id_of(each) == self.active:
                end = end_of(each)
                # A key does not say when it began, as a certificate does.
                life = each.not_after - each.not_before if isinstance(each, Certificate) else self.life
                if end is not None and life is not None:
                    return now - (end - life) < min(life / _FRESH_SHARE, _FRESH_AT_MOST)
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is left to be done of a rotation.

    Args:
        resumed: The new authority signs already, and only the old ones are left.
        successor: The ID of the one to activate; empty when it has yet to be prepared.
        taint: The ID of an old one that is still trusted; empty for none.
    """

    resumed: bool
    successor: str = ""
    taint: str = ""


def plan(view: View, now: datetime, *, new: bool = False) -> Plan:
    """Find out where a rotation is; one that was not begun is at its beginning.

    Args:
        view: As the authorities are.
        now: Aware.
        new: Begin a new one in any case.
    """
    unfinished = bool(view.to_taint or view.to_revoke)
    if not new and unfinished and not view.prepared and view.fresh(now):
        return Plan(resumed=True, taint=view.to_taint)
    return Plan(resumed=False, successor="" if new else view.prepared, taint=view.to_taint)


def choose(given: str | None, known: Sequence[str], candidates: Sequence[str], *, what: str) -> str:
    """The ID of the authority that is meant.

    Args:
        given: What the operator wrote: an ID, or its beginning; None to take the only candidate.
        known: The IDs of all authorities.
        candidates: The IDs of those that it can be done to.
        what: What these are (`prepared`).

    Raises:
        ChoiceError: There is none, or more than one.
    """
    if given is None:
        found = list(candidates)
        if not found:
            raise ChoiceError(_NONE[what], f"there is no {what} authority")
    else:
        # Of keys that somebody else has published the case counts.
        wanted = given.strip() if given.strip() in known else given.strip().lower()
        found = [wanted] if wanted in known else [each for each in known if each.lower().startswith(wanted)]
        if not found or not wanted:
            raise ChoiceError(_CHOICE, f"there is no authority {shown(given)}")
    if len(found) > 1:
        which = ", ".join(each[: 2 * SHORT] for each in found)
        raise ChoiceError(_CHOICE, f"there are several that may be meant: {which}")
    return found[0]


def trusting(rollout: fleet_pb.GetRolloutResponse) -> str:
    """How many agents have an authority, for people."""
    if not rollout.live:
        return "no agents"
    return f"{rollout.live - len(rollout.behind)} of {rollout.live}"


def names(laggards: Sequence[fleet_pb.Laggard], most: int = 3) -> str:
    """The first agents of some, by their short names."""
    found = [_short_name(each.agent_id) for each in laggards[:most] if each.agent_id]
    more = len(laggards) - len(found)
    return ", ".join([*found, f"and {more} more"] if more and found else found)


def _short_name(agent_id: str) -> str:
    _, found, rest = agent_id.partition("/spire/agent/")
    return rest if found and rest else agent_id


def behind_line(rollout: fleet_pb.GetRolloutResponse) -> str:
    """How many agents have the new authority, and who has not."""
    if not rollout.live:
        return "there are no agents that would have to know the new authority"
    line = f"agents that have the new authority: {trusting(rollout)}"
    return f"{line} (behind: {names(rollout.behind)})" if rollout.behind else line


def resting_line(rollouts: Sequence[fleet_pb.GetRolloutResponse]) -> str:
    """How many SVIDs still rest on old authorities, and where that is not known.

    Args:
        rollouts: Of each of them.
    """
    line = f"SVIDs that still rest on the old authority: {sum(each.resting for each in rollouts)}"
    unsure: dict[str, fleet_pb.Laggard] = {}
    for rollout in rollouts:
        unsure |= {each.agent_id: each for each in rollout.resting_on if not each.svids}
    return f"{line} (not known of: {names(list(unsure.values()))})" if unsure else line
