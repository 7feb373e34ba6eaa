"""The client of the Workload API: a process asks who it is, and is told of every change.

async with WorkloadClient() as client:
    async for event in client.watch_x509():
        match event:
            case Updated(context): print(context.svid.id)
            case Revoked(why): print("no identity any more:", why)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID
from finial.rpc import Address, Tcp, Unix
from finial.runtime.chance import Chance, SystemChance
from finial.runtime.clock import Clock, SystemClock
from finial.sdk.address import endpoint_address
from finial.sdk.calls import Calls, Question, Revoked, Updated
from finial.sdk.problems import Report, explained, token_refused
from finial.sdk.response import by_hint
from finial.sdk.response_jwt import (
    ValidatedJWT,
    audiences_of,
    check_shown,
    read_jwt_bundles,
    read_jwt_svids,
    read_validated,
)
from finial.sdk.response_wit import WITIdentity, read_wit_bundles, read_wit_svids
from finial.sdk.response_x509 import X509Bundles, X509Context, read_bundles, read_svids
from finial.sdk.tokenbundles import JWTBundles, WITBundles
from finial.wire.gen import workload as pb

ANSWER_TIME: Final = timedelta(seconds=10)

_API = pb.SpiffeWorkloadAPI


class WorkloadClient:
    """Asks one Workload API. Use it in an `async with`; its watches share one connection.

        async with WorkloadClient("unix:///run/finial/agent.sock") as client:
            context = await client.fetch_x509_context()
            print(context.svid.id, context.svid.expires_at)
            token = await client.fetch_jwt_svid("reports")
            print(token.id, token.expires_at)

    Args:
        address: `unix:///absolute/path.sock` or `tcp://<IP address>:<port>`; None takes it from
            `SPIFFE_ENDPOINT_SOCKET`. Clauses: EP-12, EP-13
        clock: The machine's, unless a test brings its own.
        chance: The kernel's, unless a test brings its own.

    Raises:
        AddressError: There is no address, or it breaks a rule.
    """

    def __init__(
        self,
        address: str | Address | None = None,
        *,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self.address: Address = address if isinstance(address, Unix | Tcp) else endpoint_address(address)
        self._calls = Calls(self.address, clock=clock or SystemClock(), chance=chance or SystemChance())

    # X.509-SVIDs.

    async def fetch_x509_context(self, *, wait: timedelta = ANSWER_TIME) -> X509Context:
        """This process's SVIDs and bundles, asked for once.

        Args:
            wait: For the answer, connecting included.

        Raises:
            WorkloadAPIError: Not reachable, not available, no identity: `reason` tells which, its hint the
                next step.
            ResponseError: The answer breaks rules.
        """
        return await self._calls.once(_x509_svids(), wait)

    async def fetch_x509_bundles(self, *, wait: timedelta = ANSWER_TIME) -> X509Bundles:
        """The bundles to verify others with, asked for once; raises as `fetch_x509_context`."""
        return await self._calls.once(_x509_bundles(), wait)

    def watch_x509(
        self, *, report: Report | None = None
    ) -> AsyncGenerator[Updated[X509Context] | Revoked, None]:
        """This process's SVIDs and bundles, and every change of them, over lost connections and restarts.

        Args:
            report: Told of each problem, beside the log: no connection, a message that was discarded.

        Raises:
            WorkloadAPIError: While iterating: asking again would not help.
        """
        return self._calls.watch(_x509_svids(), report)

    def watch_x509_bundles(
        self, *, report: Report | None = None
    ) -> AsyncGenerator[Updated[X509Bundles] | Revoked, None]:
        """The bundles to verify others with, and every change of them; otherwise as `watch_x509`."""
        return self._calls.watch(_x509_bundles(), report)

    # JWT-SVIDs.

    async def fetch_jwt_svids(
        self, *audience: str, spiffe_id: SpiffeID | str | None = None, wait: timedelta = ANSWER_TIME
    ) -> tuple[JWTSVID, ...]:
        """A token for each identity of this process, to be shown to the services that are named.

        The agent keeps tokens and renews them in time, so nothing is kept here: ask again for each use, or
        when half of the token's life is over.

        Args:
            audience: Whom the token is for, by the names that they validate it with; one is the rule, since
                each that is named can show the token to the others.
            spiffe_id: The one identity that is wanted. Clauses: WAPI-41
            wait: For the answer, connecting included.

        Raises:
            WorkloadAPIError: As `fetch_x509_context`; or no audience is named.
            SpiffeIDError: The identity that is wanted is none.
            ResponseError: The answer breaks rules.
        """
        return await self._calls.once(_jwt_svids(audience, _id_of(spiffe_id)), wait)

    async def fetch_jwt_svid(
        self,
        *audience: str,
        spiffe_id: SpiffeID | str | None = None,
        hint: str | None = None,
        wait: timedelta = ANSWER_TIME,
    ) -> JWTSVID:
        """The first token of `fetch_jwt_svids`, or the first with a hint; raises as that.

        Args:
            audience: Whom the token is for.
            spiffe_id: The one identity that is wanted.
            hint: What the entry says. Clauses: WAPI-71
            wait: For the answer, connecting included.

        Raises:
            HintError: No token has this hint.
        """
        svids = await self.fetch_jwt_svids(*audience, spiffe_id=spiffe_id, wait=wait)
        return svids[0] if hint is None else by_hint(hint)(svids)

    async def validate_jwt_svid(
        self, token: str, audience: str, *, wait: timedelta = ANSWER_TIME
    ) -> ValidatedJWT:
        """Have the agent validate a token that somebody has shown. Clauses: WAPI-74.

        This is the first choice: the agent's bundles are the newest, and its rules are those of this host.
        Where a call for each token is too much, `JWTSource.validate` does it here.

        Args:
            token: As it was shown, without `Bearer`.
            audience: The name that this service goes by.
            wait: For the answer, connecting included.

        Raises:
            WorkloadAPIError: The token proves nothing (`reason.kind` is UNTRUSTED), or the agent cannot be
                asked.
            ResponseError: The answer breaks rules.
        """
        return await self._calls.once(_validation(token, audience), wait)

    async def fetch_jwt_bundles(self, *, wait: timedelta = ANSWER_TIME) -> JWTBundles:
        """The keys to validate the tokens of others with; raises as `fetch_x509_context`."""
        return await self._calls.once(_jwt_bundles(), wait)

    def watch_jwt_bundles(
        self, *, report: Report | None = None
    ) -> AsyncGenerator[Updated[JWTBundles] | Revoked, None]:
        """The keys to validate the tokens of others with, and every change; otherwise as `watch_x509`."""
        return self._calls.watch(_jwt_bundles(), report)

    # WIT-SVIDs, which are incubating. An agent without them is asked once. spec: WAPI-56

    async def fetch_wit_svids(
        self, *, spiffe_id: SpiffeID | str | None = None, wait: timedelta = ANSWER_TIME
    ) -> tuple[WITIdentity, ...]:
        """A token and its key for each identity of this process; incubating.

        Args:
            spiffe_id: The one identity that is wanted. Clauses: WAPI-57
            wait: For the answer, connecting included.

        Raises:
            WorkloadAPIError: As `fetch_x509_context`; the agent may not offer them.
            SpiffeIDError: The identity that is wanted is none.
            ResponseError: The answer breaks rules.
        """
        return await self._calls.once(_wit_svids(_id_of(spiffe_id)), wait)

    def watch_wit(
        self, *, spiffe_id: SpiffeID | str | None = None, report: Report | None = None
    ) -> AsyncGenerator[Updated[tuple[WITIdentity, ...]] | Revoked, None]:
        """A token and its key for each identity of this process, and every change; incubating.

        Args:
            spiffe_id: The one identity that is wanted.
            report: Told of each problem, beside the log.

        Raises:
            WorkloadAPIError: While iterating: asking again would not help.
            SpiffeIDError: The identity that is wanted is none.
        """
        return self._calls.watch(_wit_svids(_id_of(spiffe_id)), report)

    async def fetch_wit_bundles(self, *, wait: timedelta = ANSWER_TIME) -> WITBundles:
        """The keys to validate the WIT-SVIDs of others with; raises as `fetch_wit_svids`."""
        return await self._calls.once(_wit_bundles(), wait)

    def watch_wit_bundles(
        self, *, report: Report | None = None
    ) -> AsyncGenerator[Updated[WITBundles] | Revoked, None]:
        """The keys to validate the WIT-SVIDs of others with, and every change; otherwise as `watch_wit`."""
        return self._calls.watch(_wit_bundles(), report)

    async def close(self) -> None:
        """End every watch and the connection."""
        await self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _id_of(wanted: SpiffeID | str | None) -> SpiffeID | None:
    return SpiffeID(wanted) if isinstance(wanted, str) else wanted


def _x509_svids() -> Question[pb.X509SVIDRequest, pb.X509SVIDResponse, X509Context]:
    return Question(_API.FetchX509SVID, pb.X509SVIDRequest(), read_svids)


def _x509_bundles() -> Question[pb.X509BundlesRequest, pb.X509BundlesResponse, X509Bundles]:
    return Question(_API.FetchX509Bundles, pb.X509BundlesRequest(), read_bundles)


def _jwt_svids(
    audience: tuple[str, ...], wanted: SpiffeID | None
) -> Question[pb.JWTSVIDRequest, pb.JWTSVIDResponse, tuple[JWTSVID, ...]]:
    named = audiences_of(audience)
    request = pb.JWTSVIDRequest(audience=named, spiffe_id=wanted.text if wanted else "")
    return Question(
        _API.FetchJWTSVID,
        request,
        lambda reply: read_jwt_svids(reply, named, wanted),
        lambda error, address: explained(error, address, wanted),
    )


def _validation(
    token: str, audience: str
) -> Question[pb.ValidateJWTSVIDRequest, pb.ValidateJWTSVIDResponse, ValidatedJWT]:
    (name,) = audiences_of((audience,))
    check_shown(token)
    request = pb.ValidateJWTSVIDRequest(audience=name, svid=token)
    return Question(_API.ValidateJWTSVID, request, lambda reply: read_validated(reply, name), token_refused)


def _jwt_bundles() -> Question[pb.JWTBundlesRequest, pb.JWTBundlesResponse, JWTBundles]:
    return Question(_API.FetchJWTBundles, pb.JWTBundlesRequest(), read_jwt_bundles)


def _wit_svids(
    wanted: SpiffeID | None,
) -> Question[pb.WITSVIDRequest, pb.WITSVIDResponse, tuple[WITIdentity, ...]]:
    request = pb.WITSVIDRequest(spiffe_id=wanted.text if wanted else "")
    return Question(
        _API.FetchWITSVID,
        request,
        lambda reply: read_wit_svids(reply, wanted),
        lambda error, address: explained(error, address, wanted),
    )


def _wit_bundles() -> Question[pb.WITBundlesRequest, pb.WITBundlesResponse, WITBundles]:
    return Question(_API.FetchWITBundles, pb.WITBundlesRequest(), read_wit_bundles)
