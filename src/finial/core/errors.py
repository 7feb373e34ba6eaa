"""The root of the one tree of errors: kind, stable reason id, subject, hint.

Every refusal that Finial utters carries a `Reason`. Its id never changes once released: operators look
refusals up by it and programs branch on it; the text of a message may improve at any time.

    FinialError
    └── RefusedError             what was given breaks rules; `findings` lists every one
        ├── SpiffeIDError        an ID, a trust domain name or a path
        ├── MatchError           a proven ID that is not the wanted one
        ├── PEMError             PEM text
        ├── KeyRefusedError      a key that is unreadable, too weak or not the certificate's
        ├── X509ParseError       a certificate or an X.509-SVID
        ├── X509VerifyError      a chain that does not prove its ID
        ├── CSRError             a certificate signing request
        ├── TokenParseError      a token, or a proof that comes with one
        ├── TokenVerifyError     a token that does not prove its ID, or a proof that does not hold
        ├── CarriageError        a way for tokens to travel, or the fields that carry them
        ├── IssueError           a certificate or a token that must not be issued
        ├── BundleError          a bundle or its document
        ├── FederationError      a federation relationship, or what its endpoint answers
        ├── BrokerError          a reference of a broker, or a broker that is not allowed
        ├── SelectorError        a selector
        ├── EntryError           a registration entry
        └── RotationError        times that cannot be planned with
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeVar

Result = TypeVar("Result")


class Kind(StrEnum):
    """What sort of failure it is; the closed list that gRPC, HTTP and exit codes are mapped from."""

    INVALID = "invalid"  # malformed, whoever sent it has to change it
    UNTRUSTED = "untrusted"  # well-formed, but the proof does not hold
    DENIED = "denied"  # proven, but not allowed
    MISSING = "missing"  # what was named does not exist
    CONFLICT = "conflict"  # it exists already, or in another state
    LIMIT = "limit"  # more than a bound allows
    UNAVAILABLE = "unavailable"  # may work later, or elsewhere
    INTERNAL = "internal"  # our own fault


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was refused.

    Args:
        id: Stable, lower-case, hyphenated; its first word is the subject (`id-scheme`, `x509-expired`).
        kind: The sort of failure.
        clauses: Requirement ids of the standard that demand the refusal (`X509-39`); may be empty.
        hint: The next step for an operator, one sentence; empty where there is none to give.
        meaning: What is wrong, in general, one sentence; empty where the message says it all.
    """

    id: str
    kind: Kind
    clauses: tuple[str, ...] = ()
    hint: str = ""
    meaning: str = ""


class FinialError(Exception):
    """Any error that Finial raises on purpose.

    Args:
        reason: Why; carries the stable id and the kind.
        message: One line that says what is wrong, for people.
        subject: What it is about (an ID, a file, a field), already shortened and printable; may be empty.
    """

    def __init__(self, reason: Reason, message: str, *, subject: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.subject = subject

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule.

    Args:
        reason: Which rule, by its stable id and clauses.
        message: What was seen, one line for people.
        where: The part it was seen in (`leaf`, `certificate 2`, `authority`, `keys[3]`); may be empty.
    """

    reason: Reason
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class RefusedError(FinialError):
    """What was given breaks one or more rules.

    Args:
        findings: Every broken rule, at least one; the first gives the error its reason.
        subject: What was judged, shortened and printable; may be empty.
    """

    def __init__(self, findings: Sequence[Finding], *, subject: str = "") -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        first, others = self.findings[0], len(self.findings) - 1
        more = "" if not others else f" (and {others} more)"
        super().__init__(first.reason, f"{first}{more}", subject=subject)

    @classmethod
    def because(cls, reason: Reason, message: str, *, where: str = "") -> Self:
        """An error of this class with a single finding."""
        return cls([Finding(reason, message, where)])


class SpiffeIDError(RefusedError):
    """A SPIFFE ID, trust domain name or path breaks the grammar."""


class MatchError(RefusedError):
    """A proven SPIFFE ID is not one that was asked for."""


class PEMError(RefusedError):
    """PEM text cannot be read, or lacks what was asked for."""


class KeyRefusedError(RefusedError):
    """A key cannot be read, is too weak, or does not belong to the certificate."""


class X509ParseError(RefusedError):
    """A certificate or an X.509-SVID cannot be read, or breaks the rules of its kind."""


class X509VerifyError(RefusedError):
    """A chain does not prove the SPIFFE ID that its leaf names."""


class CSRError(RefusedError):
    """A certificate signing request cannot be read or is not signed by its own key."""


class TokenParseError(RefusedError):
    """A token or a proof of possession cannot be read, or breaks a rule; it is never quoted."""


class TokenVerifyError(RefusedError):
    """A token does not prove the SPIFFE ID that it names, or the proof that came with it does not hold."""


class CarriageError(RefusedError):
    """A token would travel, or came, in a way in which it must not."""


class IssueError(RefusedError):
    """A certificate or a token was asked for that must not be issued."""


class BundleError(RefusedError):
    """A bundle, or the document that it came in, cannot be accepted."""


class FederationError(RefusedError):
    """A federation relationship, the address of a bundle endpoint or an answer of one is of no use."""


class BrokerError(RefusedError):
    """A broker may not ask, or refers to a workload in a way that is of no use."""


class SelectorError(RefusedError):
    """A selector, or a set of them, is malformed."""


class EntryError(RefusedError):
    """A registration entry breaks a rule."""


class RotationError(RefusedError):
    """Times were given that no rotation can be planned with."""


SHOWN_CHARACTERS = 80


def shown(text: str) -> str:
    """Foreign text made fit for a message: quoted, ASCII only, control characters escaped, shortened."""
    cut = text[:SHOWN_CHARACTERS]
    return ascii(cut) if len(cut) == len(text) else f"{cut!a}... ({len(text)} characters)"


def translated(call: Callable[[], Result], refuse: Callable[[str], FinialError]) -> Result:
    """Run a foreign parser; whatever it throws at garbage becomes one error of ours.

    The parsers of `cryptography` raise a dozen unrelated classes, and a panic in their Rust code arrives as
    a BaseException that no module exports. Naming them one by one is how one of them escapes.

    Args:
        call: The foreign work; does nothing but parse.
        refuse: Makes our error from one line about what happened.

    Raises:
        FinialError: Whatever `refuse` made, or what `call` itself raised as one.
        MemoryError: Passed on, as is any other BaseException: they say nothing about the input.
    """
    try:
        return call()
    except (FinialError, MemoryError):
        raise
    except BaseException as caught:
        panic = type(caught).__module__ == "pyo3_runtime"
        if not (panic or isinstance(caught, Exception)):
            raise
        text = " ".join(str(caught).split())[:SHOWN_CHARACTERS]
        raise refuse(text or type(caught).__name__) from caught
