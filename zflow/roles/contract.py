"""What every role has, so that every driver runs every role and a test reads like a sentence.

A role is told what happened (`receive`, `opened`, `lost`, `expire`, `drain`) and answers with steps: which message
leaves by which link. It never looks at a clock: `now` is an argument, in seconds of a monotonic clock.

A *link* is either a name (``"encoder/rep-0"``: a way out that the driver keeps open; ``"executor"`` and
``"application"``: the local ends) or a route (the routing ids of a caller at our own front door).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from zflow.errors import RemoteError
from zflow.wire import frames
from zflow.wire.header import MAYBE_EXECUTED, NOT_STARTED, Kind, Message
from zflow.wire.payload import encode_map

Route = tuple[bytes, ...]
Link = str | Route
Step = tuple[Link, Message]
Steps = list[Step]

EXECUTOR = "executor"
APPLICATION = "application"


class Lasting(str):
    """A reason for the loss of a connection that does not pass by itself, or not soon."""


class Refusal(Lasting):
    """Keys are missing, wrong or not allowed."""


class GivenUp(Lasting):
    """The peer's process has failed too often, and is started again only now and then."""


class Batch(Message):
    """Several REQUESTs that the local end "executor" shall run as one, or what it made of them: an outcome for each.

    It stays within a process: what travels are its members.
    """

    __slots__ = ("members",)

    def __init__(self, members: Sequence[Message]) -> None:
        super().__init__(Kind.REQUEST)
        self.members = members


class Owed(Message):
    """A REPLY that is made when it is sent, by what `make` returns: it, or a FAILURE. It stays within a process."""

    __slots__ = ("make",)

    def __init__(self, call_id: bytes, make: Callable[[], Message]) -> None:
        super().__init__(Kind.REPLY, call_id)
        self.make = make


class Role(Protocol):
    """The contract between a role and the driver that runs it."""

    def ways_out(self) -> Sequence[str]:
        """The links by name that the driver keeps open."""

    def receive(self, link: Link, message: Message, now: float) -> Steps:
        """A message came in by `link`."""

    def opened(self, link: str, now: float) -> Steps:
        """A fresh connection by `link` is being made; what is sent now waits for it."""

    def lost(self, link: Link, reason: str, now: float) -> Steps:
        """The connection by `link` is gone, and everything that had arrived by it has been delivered."""

    def malformed(self, link: Link, error: RemoteError, now: float) -> Steps:
        """What came in by `link` is no message; `error` says why, and its `call_id` whose it was if that is known."""

    def expire(self, now: float) -> Steps:
        """Time has come to `now`: deadlines that passed, work that can begin."""

    def next_deadline(self) -> float | None:
        """When `expire` must be called at the latest; None while nothing waits for time."""

    def replicas(self, group: str, links: Sequence[str], now: float) -> Steps:
        """The replicas of `group` are `links` from now on, of which any may be new.

        One that is left out gets no more work, but stays among `ways_out` until what it has is finished. A link that
        was left out once is never given again. A role that has no such group does nothing.
        """

    def drain(self, now: float) -> Steps:
        """Take no more work; finish what there is."""

    def is_idle(self, now: float) -> bool:
        """Whether nothing is in flight: a draining role may be stopped."""


def group_of(link: str) -> str:
    """Whose replica is at the end of `link`: ``encoder`` for ``encoder/rep-1``. What has no replicas is its own."""
    return link.rpartition(_REPLICA)[0] or link


def another_link(link: str, number: int) -> str:
    """A link that no plan has, to one of several places that the peer of the planned `link` turned out to have."""
    return f"{link}.{number}"


def planned_link(link: str) -> str:
    """The link that was planned, of which `link` is one or another."""
    return link.partition(".")[0]


_REPLICA = "/rep-"


def failure(call_id: bytes, error: RemoteError, *, not_started: bool = False) -> Message:
    """The FAILURE that tells `error`. `not_started`: it is certain that the request has not run."""
    details: dict[str, object] = {"code": error.code, "message": _shortened(str(error.args[0]) if error.args else "")}
    for name in ("node", "peer", "name", "description", "traceback", "retry_after"):
        value = getattr(error, name, None)
        if value:
            details[name] = _shortened(value) if isinstance(value, str) else value
    flags = NOT_STARTED if not_started else MAYBE_EXECUTED if error.maybe_executed else 0
    part = frames.part(frames.DETAILS, error.node, [encode_map(details)])
    return Message(Kind.FAILURE, call_id, flags=flags, parts=[part], extra={"code": error.code})


MAX_TEXT = 256 * 1024


def _shortened(text: str) -> str:
    """Enough of `text` to understand it: an error must not be what floods a link. Lone surrogates cannot travel."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}\n... {len(text) - MAX_TEXT} characters left out ...\n{text[-half:]}"
