"""Asks one peer one thing about itself, once it is ready: its status, or its description."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zflow.errors import AuthError, RemoteError
from zflow.roles.contract import APPLICATION, Link, Refusal, Steps, failure
from zflow.roles.liveness import Neighbour
from zflow.wire.header import Kind, Message


class Prober:
    """The prober role. kind: PING or DESCRIBE; the STATUS or DESCRIPTION goes to the link "application", or the
    FAILURE that says why there is none. extra: of the question.

    cause: why there is no answer yet, for people.
    """

    def __init__(
        self, link: str, kind: Kind, *, new_id: Callable[[], bytes], extra: Mapping[str, Any] | None = None
    ) -> None:
        self._neighbour = Neighbour(link, new_id)
        self._question = Message(kind, new_id(), extra=dict(extra or {}))

    @property
    def cause(self) -> str:
        """Why there is no answer yet."""
        return self._neighbour.cause or "it did not answer"

    def ways_out(self) -> Sequence[str]:
        return [self._neighbour.link]

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        if link == APPLICATION:
            return []
        if message.kind is Kind.CHALLENGE:
            proof = self._neighbour.prove(message)
            return [(link, proof)] if proof is not None else []
        if message.kind is Kind.READY and self._neighbour.accept(message):
            return [(link, self._question)]
        if message.kind in (Kind.STATUS, Kind.DESCRIPTION, Kind.FAILURE) and message.call_id == self._question.call_id:
            return [(APPLICATION, message)]
        return []

    def opened(self, link: str, now: float) -> Steps:
        return [(link, self._neighbour.greet(now))]

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        self._neighbour.lose(reason)
        if isinstance(reason, Refusal):
            refused = AuthError(f"{self._neighbour.link}: {reason}", peer=self._neighbour.link)
            return [(APPLICATION, failure(self._question.call_id, refused, not_started=True))]
        return []

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        self._neighbour.cause = f"it answered nonsense: {error}"
        return []

    def expire(self, now: float) -> Steps:
        return []

    def next_deadline(self) -> float | None:
        return None

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        return []

    def drain(self, now: float) -> Steps:
        return []

    def is_idle(self, now: float) -> bool:
        return True
