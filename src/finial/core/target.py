"""Where a token is sent: the URI of a request, and whether others could read along on the way."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from finial.core.errors import CarriageError, shown
from finial.core.reasons import carriage as reasons
from finial.core.uri import ip_address, port_number

MAX_TARGET_BYTES = 8192

_URI = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r'(?P<path>/[!"$->@-~]*)?(?:[?#][!-~]*)?'
)
_BEHIND = re.compile("[?#]")
_PORTS = {"https": "443", "http": "80"}


@dataclass(frozen=True, slots=True)
class Target:
    """A request's target, without its query and fragment.

    Two spellings are equal when they differ in the case of scheme and host, in a port that goes without
    saying, or in the slash of an empty path; the path counts as it is written.

    Args:
        uri: As the client uses it: with a host, and without user and password.

    Raises:
        CarriageError: It is no such URI.
    """

    uri: str
    secure: bool = field(init=False, compare=False)
    loopback: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        match = _URI.fullmatch(self.uri) if len(self.uri) <= MAX_TARGET_BYTES else None
        if match is None or not _reachable(match["host"], match["port"]):
            raise CarriageError.because(reasons.TARGET_FORM, f"{_quoted(self.uri)} is no URI of a host")
        scheme, host = match["scheme"].lower(), match["host"].lower()
        port = "" if match["port"] in {None, _PORTS.get(scheme)} else f":{match['port']}"
        object.__setattr__(self, "uri", f"{scheme}://{host}{port}{match['path'] or '/'}")
        object.__setattr__(self, "secure", scheme == "https")
        object.__setattr__(self, "loopback", _is_loopback(host.strip("[]")))


def check_bearer_target(uri: str) -> None:
    """Return when a JWT-SVID may be sent there. Clauses: JWT-40.

    Args:
        uri: Of the request.

    Raises:
        CarriageError: It is no URI of a host, or plain text would leave this machine.
    """
    target = Target(uri)
    if not (target.secure or target.loopback):
        raise plain(target)


def plain(target: Target) -> CarriageError:
    """The refusal of a target that others can read along to."""
    return CarriageError.because(reasons.TARGET_PLAIN, f"{shown(target.uri)} is not reached over https")


def _quoted(uri: str) -> str:
    # A password, or a token behind the path, is not repeated.
    return "what has an @ in it" if "@" in uri else shown(_BEHIND.split(uri, maxsplit=1)[0])


def _reachable(host: str, port: str | None) -> bool:
    if host.startswith("[") and ip_address(host) is None:
        return False
    return port is None or port_number(port) is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
