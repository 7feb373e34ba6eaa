"""The rules of federation: addresses of bundle endpoints, parameters, redirects, answers.

Both profiles have the same rules for addresses, with a clause of each: what they differ in is how the server
is verified.
"""

from __future__ import annotations

from dataclasses import dataclass

from finial.core import uri
from finial.core.bundle_doc import MAX_DOCUMENT_BYTES
from finial.core.errors import shown
from finial.core.reasons import federation as reasons
from finial.core.rules.engine import Rule, Stage, Table

MAX_URL_BYTES = 4096
MAX_HOPS = 5

TEMPORARY = frozenset({302, 303, 307})
PERMANENT = frozenset({301, 308})
_OTHER_REDIRECTS = frozenset({300, 304, 305})
REDIRECTS = TEMPORARY | PERMANENT | _OTHER_REDIRECTS
WEB, SPIFFE = "https_web", "https_spiffe"

_READING = frozenset({Stage.PARSE})


@dataclass(frozen=True, slots=True)
class URLText:
    """A claimed address of a bundle endpoint, cut at the delimiters of a URI.

    Args:
        size: Of the whole, in bytes.
        parts: None for what is no URI, of which then nothing else is asked.
        authority: None for what has none that can be read.
    """

    size: int
    parts: uri.URI | None
    authority: uri.Authority | None


def cut_url(text: str) -> URLText:
    """The parts of a claimed address; never raises."""
    size = len(text.encode("utf-8", "surrogatepass"))
    parts = uri.cut(text) if size <= MAX_URL_BYTES else None
    if parts is None:
        return URLText(size, None, None)
    return URLText(size, parts, None if parts.authority is None else uri.cut_authority(parts.authority))


def _long(url: URLText) -> str:
    over = url.size > MAX_URL_BYTES
    return f"the URL has {url.size} bytes, at most {MAX_URL_BYTES} are allowed" if over else ""


def _url(url: URLText) -> str:
    if url.parts is None:
        over = url.size > MAX_URL_BYTES
        return "" if over else "the URL holds a character that has to be percent-encoded"
    return "" if url.parts.scheme is not None else "the URL has no scheme"


def _scheme(url: URLText) -> str:
    scheme = None if url.parts is None else url.parts.scheme
    foreign = scheme is not None and scheme.lower() != "https"
    return f"the scheme of the URL is {shown(scheme or '')} and not https" if foreign else ""


def _user_info(url: URLText) -> str:
    # It may hold a password, so it is not repeated; where the authority cannot be read there may be one too.
    given = url.parts is not None and "@" in (url.parts.authority or "")
    return "there is user information in the URL" if given else ""


def _host(url: URLText) -> str:
    if url.parts is None or _user_info(url):
        return ""
    host = "" if url.authority is None else url.authority.host
    if not host:
        return "the URL has no host" if not url.parts.authority else "the host of the URL cannot be read"
    good = uri.ip_address(host) is not None or uri.is_name(host)
    return "" if good else f"the host {shown(host)} is no IP address and no DNS name"


def _port(url: URLText) -> str:
    port = None if url.authority is None or _user_info(url) else url.authority.port
    # Not repeated: with a slash in it, a password looks like a port.
    return "the port of the URL is none" if port and uri.port_number(port) is None else ""


ENDPOINT_URL = Table(
    "URL of a bundle endpoint",
    (
        Rule(reasons.URL_LONG, _long, _READING),
        Rule(reasons.URL, _url, _READING),
        Rule(reasons.URL_SCHEME, _scheme, _READING),
        Rule(reasons.URL_USER_INFO, _user_info, _READING),
        Rule(reasons.URL_HOST, _host, _READING),
        Rule(reasons.URL_PORT, _port, _READING),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What an operator gives for a federation relationship, as text; empty is missing.

    Args:
        trust_domain: Whose bundle is to be fetched.
        url: Of the endpoint.
        profile: `https_web` or `https_spiffe`.
        endpoint_id: The SPIFFE ID of the endpoint's server, for `https_spiffe`.
    """

    trust_domain: str = ""
    url: str = ""
    profile: str = ""
    endpoint_id: str = ""


def _missing(given: Parameters) -> str:
    values = {"trust domain": given.trust_domain, "URL": given.url, "profile": given.profile}
    missing = [name for name, value in values.items() if not value]
    return f"there is no {' and no '.join(missing)}" if missing else ""


def _profile(given: Parameters) -> str:
    known = given.profile in {"", WEB, SPIFFE}
    return "" if known else f"the profile {shown(given.profile)} is unknown"


def _endpoint_id(given: Parameters) -> str:
    missing = given.profile == SPIFFE and not given.endpoint_id
    return f"the profile {SPIFFE} needs the SPIFFE ID of the endpoint" if missing else ""


def _surplus(given: Parameters) -> str:
    surplus = given.profile == WEB and given.endpoint_id
    return f"the profile {WEB} has no use for the SPIFFE ID of an endpoint" if surplus else ""


RELATIONSHIP = Table(
    "federation relationship",
    (
        Rule(reasons.PARAMETER, _missing, _READING),
        Rule(reasons.PROFILE, _profile, _READING),
        Rule(reasons.ENDPOINT_ID, _endpoint_id, _READING),
        Rule(reasons.SURPLUS, _surplus, _READING),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The head of what a bundle endpoint answered.

    Args:
        status: Of HTTP.
        content_type: The header's value; empty where there is none.
        content_encoding: The same.
        length: How many bytes are announced; None where nothing is.
        location: Where a redirect leads; None where there is no such header.
        hops: How many redirects have been followed so far.
        follow: Whether redirects are followed at all.
    """

    status: int
    content_type: str = ""
    content_encoding: str = ""
    length: int | None = None
    location: str | None = None
    hops: int = 0
    follow: bool = True


def _off(answer: Answer) -> str:
    return "" if answer.follow else f"it answers {answer.status}, and redirects are not followed"


def _redirect_status(answer: Answer) -> str:
    if answer.status in _OTHER_REDIRECTS:
        return f"it answers {answer.status}, which is no redirect to one place"
    return "" if answer.location else f"it answers {answer.status} and does not say where to go"


def _hops(answer: Answer) -> str:
    return f"it redirects more than {MAX_HOPS} times" if answer.hops >= MAX_HOPS else ""


# Asked of an answer that is a redirect; the address that it leads to is then held to ENDPOINT_URL.
REDIRECT = Table(
    "redirect of a bundle endpoint",
    (
        Rule(reasons.REDIRECT_OFF, _off, _READING),
        Rule(reasons.REDIRECT_STATUS, _redirect_status, _READING),
        Rule(reasons.REDIRECT_HOPS, _hops, _READING),
    ),
)


def _status(answer: Answer) -> str:
    return "" if answer.status == 200 else f"it answers {answer.status}"


def _large(answer: Answer) -> str:
    over = answer.length is not None and answer.length > MAX_DOCUMENT_BYTES
    return f"it announces {answer.length} bytes, at most {MAX_DOCUMENT_BYTES} are read" if over else ""


def _encoding(answer: Answer) -> str:
    if answer.content_encoding.strip().lower() not in {"", "identity"}:
        return f"its content is encoded as {shown(answer.content_encoding)}"
    charsets = [value for name, value in _media_parameters(answer.content_type) if name == "charset"]
    odd = [value for value in charsets if value not in {"utf-8", "utf8", "us-ascii"}]
    return f"its characters are encoded as {shown(odd[0])}" if odd else ""


# What the media type itself is called does not matter: it is only recommended, and the body says what it is.
ANSWER = Table(
    "answer of a bundle endpoint",
    (
        Rule(reasons.ANSWER_STATUS, _status, _READING),
        Rule(reasons.ANSWER_LARGE, _large, _READING),
        Rule(reasons.ANSWER_ENCODING, _encoding, _READING),
    ),
)


def _media_parameters(content_type: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in content_type.split(";")[1:]]
    return [(name.strip().lower(), value.strip().strip('"').lower()) for name, _, value in pairs]
