"""The live source for JWT-SVIDs: tokens to show to others, and keys to validate theirs with."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

from finial.core.errors import FinialError
from finial.core.ids import SpiffeID
from finial.core.jwtsvid import JWTSVID, VerifiedJWT
from finial.rpc import Address
from finial.runtime.clock import Clock
from finial.sdk.calls import Revoked, Updated
from finial.sdk.following import FIRST_UPDATE_TIME, Following, again
from finial.sdk.problems import Report
from finial.sdk.tokenbundles import JWTBundles
from finial.sdk.workload import ANSWER_TIME, WorkloadClient

_log = logging.getLogger("finial.sdk")


@dataclass(frozen=True, slots=True)
class JWTSnapshot:
    """What a source of JWT-SVIDs holds at one moment.

    Args:
        bundles: Of the newest message; None when there is nothing that may be used.
        error: Why there are none.
    """

    bundles: JWTBundles | None = None
    error: FinialError | None = None


class JWTSource(Following[JWTBundles, JWTSnapshot]):
    """Fetches tokens, and holds the newest keys to validate others' with, while its `async with` lasts.

        async with JWTSource() as source:
            token = await source.fetch("reports")  # to show to the service of that name
            caller = source.validate(shown, "web")  # what somebody has shown to us
            print(caller.id)

    Entering waits for the first keys; a process whose entry has not arrived yet waits for it too. Tokens are
    not kept here, since the agent keeps them: `fetch` asks it each time. Any thread may validate.

    Args:
        client: Asked, and left open; None makes one.
        address: For that one; see WorkloadClient.
        patience: How long entering waits for the first keys.
        report: Told of each problem, beside the log.
        clock: The machine's, unless a test brings its own.

    Raises:
        AddressError: There is no address, or it breaks a rule.
    """

    _AWAITED = "bundle for JWT-SVIDs"

    def __init__(
        self,
        client: WorkloadClient | None = None,
        *,
        address: str | Address | None = None,
        patience: timedelta = FIRST_UPDATE_TIME,
        report: Report | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            client, address=address, patience=patience, report=report, clock=clock, empty=JWTSnapshot()
        )

    @property
    def bundles(self) -> JWTBundles:
        """The newest keys. Clauses: WAPI-17, WAPI-80.

        Raises:
            FinialError: There are none, not yet or no longer.
        """
        held = self.snapshot
        if held.bundles is None:
            raise again(held.error)
        return held.bundles

    async def fetch(
        self,
        *audience: str,
        spiffe_id: SpiffeID | str | None = None,
        hint: str | None = None,
        wait: timedelta = ANSWER_TIME,
    ) -> JWTSVID:
        """A token to show to a service; see `WorkloadClient.fetch_jwt_svid`."""
        return await self._client.fetch_jwt_svid(*audience, spiffe_id=spiffe_id, hint=hint, wait=wait)

    def validate(self, token: str, *audience: str, leeway: timedelta = timedelta(0)) -> VerifiedJWT:
        """The SPIFFE ID that a token proves now, by the newest keys. Clauses: WAPI-75.

        Args:
            token: As it was shown, without `Bearer`.
            audience: The names that this service goes by; the token has to be meant for one of them.
            leeway: By how much clocks may differ, at most two minutes.

        Raises:
            TokenParseError: It is no JWT-SVID.
            TokenVerifyError: It proves nothing here; `findings` lists every reason.
            FinialError: There are no keys.
        """
        return self.bundles.validate(token, *audience, now=self._clock.now(), leeway=leeway)

    def _events(self) -> AsyncGenerator[Updated[JWTBundles] | Revoked, None]:
        return self._client.watch_jwt_bundles(report=self._note)

    def _judge(self, event: Updated[JWTBundles] | Revoked) -> tuple[JWTSnapshot, bool]:
        if isinstance(event, Revoked):
            if self.snapshot.bundles is not None:
                _log.warning("the keys to validate tokens with were revoked: %s", event.why)
            return JWTSnapshot(error=event.why), False
        return JWTSnapshot(event.value), True
