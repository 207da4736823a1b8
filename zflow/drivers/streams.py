"""An answer in pieces from a method on the worker's own thread: a generator that is advanced as the caller takes it.

Between two items the worker reads everything that waits at its door, so that a stream ends within one item of being
given up, and a caller that grants no more items stops it without anything piling up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from zflow.drivers.invocation import Call
from zflow.drivers.running import note
from zflow.errors import Cancelled
from zflow.roles.contract import failure
from zflow.wire.header import Kind, Message


class Stream:
    """`pieces` for `call`. report: is told an exception of user code's."""

    def __init__(
        self, call: Call, pieces: Generator[Any, None, Any], *, report: Callable[[BaseException], None]
    ) -> None:
        self.call = call
        self.is_over = False
        self._pieces = pieces
        self._granted = call.granted
        self._is_given_up = False
        self._report = report

    @property
    def may_go_on(self) -> bool:
        """Whether `step` has something to do now."""
        return self._is_given_up or self._granted is None or self._granted > 0

    @property
    def is_given_up(self) -> bool:
        """Whether nobody waits for what it makes."""
        return self._is_given_up

    def grant(self, items: int) -> None:
        """The caller takes so many items more."""
        if self._granted is not None and items > 0:
            self._granted += items

    def give_up(self) -> None:
        """Nobody waits for it any more: the next step ends it."""
        self._is_given_up = True

    def step(self) -> Message | None:
        """The next PARTIAL, or the outcome; None when user code only took a breath (a bare ``yield``)."""
        note(self.call.request)
        try:
            return self._ended_early() if self._is_given_up else self._advance()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.is_over = True
            self._pieces.close()  # what is yielded wrongly was not raised by the generator, which still stands there
            self._report(error)
            return failure(self.call.call_id, self.call.error(error))
        finally:
            note()

    def close(self) -> None:
        """The worker ends: let the generator's own `finally` run."""
        self._pieces.close()

    def _advance(self) -> Message | None:
        try:
            yielded = next(self._pieces)
        except StopIteration as end:
            self.is_over = True
            return self.call.message(Kind.REPLY, self.call.made_of_piece(end.value))
        if yielded is None:
            return None
        piece = self.call.message(Kind.PARTIAL, self.call.made_of_piece(yielded))
        if self._granted is not None:
            self._granted -= 1
        return piece

    def _ended_early(self) -> Message:
        self._pieces.close()
        self.is_over = True
        gone = Cancelled(
            f"{self.call.node}: stopped, since nobody waits for the rest", node=self.call.node, maybe_executed=True
        )
        return failure(self.call.call_id, gone)
