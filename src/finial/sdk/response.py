"""What messages of the Workload API have in common, whatever kind of SVID they bring.

A message is taken whole or not at all (WAPI-19), with one exception: what other trust domains publish must
not keep a workload from its own identity. So a federated bundle that cannot be read is passed over and
reported, and peers of that trust domain are untrusted. Likewise an authority that cannot be read does not
take the others of its bundle with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from finial.core.errors import Finding, Kind, Reason, RefusedError, shown
from finial.core.ids import TrustDomain

AGENT_HINT: Final = "The agent sent it: look into its log, and report it to whoever makes that agent."
EMPTY: Final = Reason(
    "workload-response-empty",
    Kind.INVALID,
    ("WAPI-19", "WAPI-27", "WAPI-54"),
    AGENT_HINT,
    "A field that a message of the Workload API must have is missing.",
)
HINT: Final = Reason(
    "workload-response-hint",
    Kind.INVALID,
    ("WAPI-31", "WAPI-32", "WAPI-45", "WAPI-60", "WAPI-78", "WAPI-79"),
    AGENT_HINT,
)
_NO_SUCH_HINT: Final = Reason(
    "svid-hint",
    Kind.MISSING,
    ("WAPI-71",),
    "Give the hint to an entry of this workload, or ask for another one.",
    "No SVID of this workload has the hint that was asked for.",
)
_SCHEME: Final = "spiffe://"

Value = TypeVar("Value")


class ResponseError(RefusedError):
    """A message of the Workload API breaks rules; it was discarded."""


class HintError(RefusedError):
    """No SVID of this workload has the hint that was asked for."""


class Hinted(Protocol):
    """What an operator may have given a name to: any kind of SVID."""

    @property
    def hint(self) -> str:
        """The name; empty for none."""


SVID = TypeVar("SVID", bound=Hinted)


@dataclass(frozen=True, slots=True)
class Answer(Generic[Value]):
    """A message that was taken.

    Args:
        value: What it says.
        passed_over: What in it could not be used.
    """

    value: Value
    passed_over: tuple[Finding, ...] = ()


class by_hint:  # noqa: N801 - used like a function: pick=by_hint("internal")
    """Picks the SVID with this hint; with several, the first. Clauses: WAPI-32, WAPI-69, WAPI-71.

    Args:
        hint: What the entry says.
    """

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __call__(self, svids: Iterable[SVID]) -> SVID:
        """That SVID; HintError when there is none."""
        known: list[str] = []
        for svid in svids:
            if svid.hint == self._hint:
                return svid
            known.append(shown(svid.hint) if svid.hint else "one without")
        message = f"no SVID has the hint {shown(self._hint)}; there are: {', '.join(known)}"
        raise HintError.because(_NO_SUCH_HINT, message)


class Hints:
    """The hints of one message: of equal ones the first holds. Clauses: WAPI-32, WAPI-78, WAPI-79.

    Args:
        passed: Is told of the others.
    """

    def __init__(self, passed: list[Finding]) -> None:
        self._passed = passed
        self._seen: set[str] = set()

    def fresh(self, hint: str, where: str) -> bool:
        """Whether an SVID with this hint is to be kept; one without a hint always is."""
        if hint and hint in self._seen:
            self._passed.append(Finding(HINT, f"a second SVID with the hint {shown(hint)}", where))
            return False
        self._seen.add(hint)
        return True


def filled(fields: Mapping[str, object], where: str, refused: list[Finding]) -> bool:
    """Whether all mandatory fields have a value; those that have none are noted. Clauses: WAPI-19.

    Args:
        fields: Values by their names.
        where: In the message.
        refused: Is told of those that are empty.
    """
    missing = [name for name, value in fields.items() if not value]
    refused.extend(Finding(EMPTY, f"the field {name} is empty", where) for name in missing)
    return not missing


def domain_of(key: str, reason: Reason, passed: list[Finding]) -> TrustDomain | None:
    """The trust domain whose ID is the key of a bundle; None, and a finding, when it is none.

    Args:
        key: Of a map of bundles.
        reason: Of the finding.
        passed: Is told.
    """
    where = f"bundle of {shown(key)}"
    if not key.startswith(_SCHEME):
        passed.append(Finding(reason, "the key is not the SPIFFE ID of a trust domain", where))
        return None
    try:
        return TrustDomain.from_name_or_id(key)
    except RefusedError as error:
        passed.append(Finding(reason, error.message, where))
        return None
