"""Asks: the questions of one `post`, with their ids and budgets, and the answers matched to them.

At most `window` questions are open at once. Answers come in completion order, or in the order of the questions; those
that come in pieces, piece by piece, `items` of which may be on their way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from zflow.wire.frames import Part
from zflow.wire.header import Kind, Message

QuestionT = TypeVar("QuestionT")


class Caller(Generic[QuestionT]):
    """The caller role of one `post`. `QuestionT` is whatever the asker wants to have back beside each answer.

    endpoint: '' means the default method. timeout: seconds that each request may take, from when it is asked. items:
    how many pieces of an answer may be on their way; None for answers that come whole.
    """

    def __init__(
        self,
        *,
        new_id: Callable[[], bytes],
        endpoint: str,
        window: int,
        timeout: float | None = None,
        in_order: bool = False,
        flags: int = 0,
        extra: dict[str, Any] | None = None,
        items: int | None = None,
    ) -> None:
        self._new_id = new_id
        self._endpoint = endpoint
        self._window = window
        self._timeout = timeout
        self._in_order = in_order
        self._flags = flags
        self._extra = extra or {}
        if items is not None:
            self._extra = {**self._extra, "partial": True, "items": items, "gathered": True}
        self._items = items or 0
        self._taken = 0
        self._open: dict[bytes, QuestionT] = {}
        self._order: deque[bytes] = deque()
        self._early: dict[bytes, tuple[QuestionT, Message]] = {}
        self.dropped = 0

    @property
    def may_ask(self) -> bool:
        """Whether one more question may be open. With answers in order, those that wait for their turn count too."""
        return len(self._open) + len(self._early) < self._window

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come."""
        return bool(self._open)

    def ask(self, question: QuestionT, parts: Sequence[Part]) -> Message:
        """The REQUEST that asks `question`."""
        call_id = self._new_id()
        self._open[call_id] = question
        if self._in_order:
            self._order.append(call_id)
        budget = None if self._timeout is None else max(0, int(self._timeout * 1e6))
        return Message(Kind.REQUEST, call_id, self._endpoint, budget, self._flags, parts, dict(self._extra))

    def settle(self, outcome: Message) -> list[tuple[QuestionT, Message]]:
        """`outcome` came: the questions that are answered now, each with its REPLY or FAILURE."""
        call_id = outcome.call_id
        if call_id not in self._open:
            self.dropped += 1
            return []
        settled = (self._open.pop(call_id), outcome)
        if not self._in_order:
            return [settled]
        self._early[call_id] = settled
        answered = []
        while self._order and self._order[0] in self._early:
            answered.append(self._early.pop(self._order.popleft()))
        return answered

    def take(self, piece: Message) -> tuple[QuestionT, Message | None] | None:
        """A PARTIAL came: whose it is, and the MORE that is due when half of the grant is used up. None: nobody's."""
        question = self._open.get(piece.call_id)
        if question is None:
            self.dropped += 1
            return None
        self._taken += 1
        if 2 * self._taken < self._items:
            return question, None
        taken, self._taken = self._taken, 0
        return question, Message(Kind.MORE, piece.call_id, extra={"items": taken})

    def cancel(self) -> list[Message]:
        """Give up what is open: one CANCEL each."""
        given_up = [Message(Kind.CANCEL, call_id) for call_id in self._open]
        self._open.clear()
        self._order.clear()
        self._early.clear()
        return given_up
