"""The Workload API, the profile of JWT-SVIDs: FetchJWTSVID, FetchJWTBundles and ValidateJWTSVID."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Final

from finial.agent.api.claims import fill, shown_of
from finial.agent.api.workload_stream import MOST_STREAM_BYTES, Reception, encoded, no_identity
from finial.agent.cache import Cache
from finial.agent.change import Profile
from finial.agent.entry import AuthorizedEntry
from finial.agent.jwt import JWTSupply
from finial.core.errors import SpiffeIDError, TokenParseError, TokenVerifyError
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import validate_jwt
from finial.core.selectors import Selector
from finial.rpc import Route, RpcError, ServerCall, StatusCode, server_stream, unary
from finial.runtime.clock import Clock
from finial.wire.gen import workload

MOST_AUDIENCES: Final = 1_000
MOST_WRITTEN: Final = 20_000
"""Characters that the audiences may take in a token: longer tokens are read by nobody."""
_AROUND: Final = 3  # characters that each takes besides its own
_ESCAPED: Final = 12  # that one character may take, as JSON is written

_FetchCall = ServerCall[workload.JWTSVIDRequest, bytes]
_ValidateCall = ServerCall[workload.ValidateJWTSVIDRequest, workload.ValidateJWTSVIDResponse]


class JWTProfile:
    """Serves callers JWT-SVIDs and the bundles that prove others', and judges tokens for them.

    Args:
        reception: Knows who calls.
        cache: What there is.
        supply: Has tokens for callers.
        clock: Judges tokens.
        foreign_claims: Claims of tokens of other trust domains that callers are told beside `sub`, `aud` and
            `exp`.
    """

    def __init__(
        self,
        reception: Reception,
        cache: Cache,
        supply: JWTSupply,
        *,
        clock: Clock,
        foreign_claims: Iterable[str] = (),
    ) -> None:
        self._reception = reception
        self._cache = cache
        self._supply = supply
        self._clock = clock
        self._foreign_claims = frozenset(foreign_claims)

    def routes(self) -> tuple[Route, ...]:
        """The methods of this profile."""
        api = workload.SpiffeWorkloadAPI
        return (
            unary(encoded(api.FetchJWTSVID), self.fetch_jwt_svid),
            server_stream(api.FetchJWTBundles, self.fetch_jwt_bundles, most=MOST_STREAM_BYTES),
            unary(api.ValidateJWTSVID, self.validate_jwt_svid),
        )

    async def fetch_jwt_svid(self, request: workload.JWTSVIDRequest, call: _FetchCall) -> bytes:
        """A token of each of the caller's identities, or of the one that it names.

        Clauses: WAPI-18, WAPI-40..WAPI-46.
        """
        admitted = self._reception.admit(call)
        audience = read_audience(request.audience)
        wanted = read_wanted(request.spiffe_id)
        selectors = await self._reception.attested(admitted)
        entries = self._entitled(selectors, wanted)
        answer = self._supply.at_once(entries, audience)
        if answer is not None:
            return answer
        process = call.peer.process
        assert process is not None  # it has been attested
        refused: RpcError | None = None
        try:
            answer = await self._supply.obtain(entries, audience, caller=process.uid)
        except RpcError as error:
            refused = error
        self._check_still(entries, self._entitled(selectors, wanted))
        if answer is None:
            assert refused is not None
            raise refused
        return answer

    async def fetch_jwt_bundles(
        self,
        _: workload.JWTBundlesRequest,
        call: ServerCall[workload.JWTBundlesRequest, workload.JWTBundlesResponse],
    ) -> None:
        """Send the caller the keys of the trust domains that it may trust, now and at each change.

        Clauses: WAPI-48..WAPI-51.
        """
        await self._reception.stream(call, Profile.JWT, self._cache.jwt_bundles)

    async def validate_jwt_svid(
        self, request: workload.ValidateJWTSVIDRequest, call: _ValidateCall
    ) -> workload.ValidateJWTSVIDResponse:
        """What a token says, if it is good for an audience.

        It is judged by the own bundle and by those that the caller's entries name. A caller needs no
        identity of its own, as with SPIRE. No leeway is given: a token is over when it says so.

        Clauses: WAPI-18, WAPI-52..WAPI-54, WAPI-75, JWT-41, ID-41, ID-49.
        """
        admitted = self._reception.admit(call)
        if not request.audience:
            raise _invalid("audience must be specified")
        token = request.svid
        if not token:
            raise _invalid("svid must be specified")
        entries = self._cache.entitled(await self._reception.attested(admitted))
        bundles = self._cache.bundles(entries)
        try:
            proof = validate_jwt(token, bundles, (request.audience,), now=self._clock.now())
        except (TokenParseError, TokenVerifyError) as error:
            raise _invalid(error.message) from error
        own = proof.id.trust_domain == self._cache.book.bundle.trust_domain
        claims = shown_of(proof.svid, None if own else self._foreign_claims)
        reply = workload.ValidateJWTSVIDResponse(spiffe_id=proof.id.text)
        fill(reply.claims, claims)
        return reply

    def _entitled(self, selectors: frozenset[Selector], wanted: SpiffeID | None) -> Sequence[AuthorizedEntry]:
        """The caller's entries, or the one that it wants.

        Raises:
            RpcError: PERMISSION_DENIED: there are none. Clauses: WAPI-46.
        """
        entries: Sequence[AuthorizedEntry] = self._cache.entitled(selectors)
        if wanted is not None:
            entries = [entry for entry in entries if entry.spiffe_id == wanted]
        if not entries:
            raise no_identity()
        return entries

    def _check_still(self, before: Sequence[AuthorizedEntry], now: Sequence[AuthorizedEntry]) -> None:
        """Nothing has been taken from the caller while it waited. Clauses: WAPI-72.

        Raises:
            RpcError: PERMISSION_DENIED: something has.
        """
        by_id = {entry.id: entry for entry in now}
        for entry in before:
            still = by_id.get(entry.id)
            if still is None or not still.same_subject(entry):
                raise no_identity()


def read_audience(values: Iterable[str]) -> tuple[str, ...]:
    """Whom a token is to be for: each value once, empty ones left out, as SPIRE's server does.

    Args:
        values: As they were asked for.

    Raises:
        RpcError: INVALID_ARGUMENT, nothing is left, or it is too much. Clauses: WAPI-18, WAPI-40.
    """
    audience = tuple(dict.fromkeys(filter(None, values)))
    if not audience:
        raise _invalid("audience must be specified")
    if len(audience) > MOST_AUDIENCES:
        raise _invalid(f"a token has at most {MOST_AUDIENCES} audiences")
    least = sum(len(value) + _AROUND for value in audience)
    if least * _ESCAPED > MOST_WRITTEN and len(json.dumps(audience, separators=(",", ":"))) > MOST_WRITTEN:
        raise _invalid(f"the audiences of a token take at most {MOST_WRITTEN} characters in it")
    return audience


def read_wanted(text: str) -> SpiffeID | None:
    """The identity that a caller names; None when it names none.

    Args:
        text: As it was asked for.

    Raises:
        RpcError: INVALID_ARGUMENT, it is no SPIFFE ID. Clauses: WAPI-41.
    """
    if not text:
        return None
    try:
        return SpiffeID(text)
    except SpiffeIDError as error:
        raise _invalid(f"invalid requested SPIFFE ID: {error.message}") from error


def _invalid(message: str) -> RpcError:
    return RpcError(StatusCode.INVALID_ARGUMENT, message)
