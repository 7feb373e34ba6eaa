"""The Push service: agents subscribe to what they may serve."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from finial.server.api.chain import Caller, Endpoint, bidi
from finial.server.api.patience import within
from finial.server.api.replies import invalid
from finial.server.push.ground import Ground
from finial.server.push.session import Call, Session
from finial.wire import push
from finial.wire.push import Hello

PATIENCE: Final = timedelta(seconds=10)
"""How long an agent may take to say hello."""


class PushService:
    """Serves `finial.api.server.push.v1.Push`.

    Args:
        ground: What its streams stand on.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def endpoints(self) -> tuple[Endpoint, ...]:
        """What is served."""
        return (bidi(push.SUBSCRIBE, self.subscribe, most=push.MAX_REQUEST_BYTES),)

    async def subscribe(self, call: Call, caller: Caller) -> None:
        """Tell an agent what it may serve, and whatever changes of it, until either side ends the call.

        Raises:
            RpcError: PERMISSION_DENIED with the reason, the agent may be told nothing any more;
                DEADLINE_EXCEEDED, it keeps the server waiting; INVALID_ARGUMENT, it does not keep to the
                protocol; UNAVAILABLE, it is to come back; RESOURCE_EXHAUSTED, it has newer streams.
        """
        said = await within(self._ground.clock, PATIENCE, call.receive())
        if not isinstance(said, Hello):
            raise invalid("the agent does not say hello first")
        caller.recheck()
        agent_id = caller.agent_id.text
        session = Session(call, caller, self._ground)
        try:
            with self._ground.hub.entered(agent_id, session):
                self._ground.fleet.joined(agent_id)
                try:
                    await session.run(said)
                finally:
                    self._ground.fleet.left(agent_id)
        finally:
            if self._ground.hub.stream(agent_id) is None:
                self._ground.deliveries.left(agent_id)
