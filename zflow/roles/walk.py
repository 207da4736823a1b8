"""One request on its way through the graph: what a gateway remembers of it, and what its caller asked of the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from zflow.errors import InvalidRequest, UnsupportedRequest
from zflow.roles.contract import Link
from zflow.roles.patience import Progress
from zflow.topology import GATEWAY, Node
from zflow.wire.conditions import WHEN, Entry, check_entries, shifted
from zflow.wire.frames import PARAMETERS, Part
from zflow.wire.header import Message

_MAX_MISSING = 512  # more names would not fit into a header
_TARGET = re.compile(r"[A-Za-z0-9_|.*^$-]{1,256}")  # no groups: a name of 64 letters cannot make such a pattern slow


class Walk:
    """One request on its way through the graph.

    missing: per join that is not patient, how many of its needs have not ended. progress: what else is known where the
    graph can do without something, else None. made: per node, its documents, as long as somebody may need them.
    running: the steps that are waited for and have no outcome yet, by call id. left: how many nodes are waited for and
    have not ended; below 0 when it is over. target, conditions: see `narrow`. filtered: whether documents may have lost
    their order. lacking: the shards that nodes have answered without, and the code of each one's error.
    """

    __slots__ = (
        "origin",
        "request",
        "parameters",
        "target",
        "conditions",
        "filtered",
        "deadline",
        "missing",
        "progress",
        "made",
        "results",
        "running",
        "left",
        "lacking",
    )

    def __init__(
        self,
        origin: Link,
        request: Message,
        deadline: float | None,
        missing: dict[str, int],
        left: int,
        filtered: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.origin = origin
        self.request = request
        self.parameters = [part for part in request.parts if part.kind == PARAMETERS]
        self.target: re.Pattern[str] | None = None
        self.conditions: Sequence[Entry] = ()
        self.filtered = filtered
        self.deadline = deadline
        self.missing = missing
        self.progress = progress
        self.made: dict[str, list[Part]] = {}
        self.results: list[Part] = []
        self.running: dict[bytes, str] = {}
        self.left = left
        self.lacking: dict[str, Any] | None = None

    def narrow(self, parts: int, room: int) -> None:
        """Note which nodes the caller means, and which of its documents; these have that many parts.

        room: bytes of conditions that may be added to those of the graph. Raises InvalidRequest for what is neither
        pattern nor conditions, UnsupportedRequest for conditions on documents that may come back unopened.
        """
        extra = self.request.extra
        if "!target" in extra:
            self.target = _checked_target(extra["!target"])
        if WHEN in extra:
            if self.target is not None or not self.left:
                raise UnsupportedRequest(f"{WHEN} where nodes may be left out: nobody would apply it")
            check_entries(extra[WHEN], parts, room)
            self.conditions = extra[WHEN]

    def conditions_for(self, node: Node) -> list[Entry]:
        """What the documents of the step for `node` must meet: its own condition, and the caller's on the input."""
        entries: list[Entry] = [[node.when, None]] if node.when else []
        if not self.conditions or GATEWAY not in node.needs:
            return entries
        if len(node.needs) == 1:
            return [*self.conditions, *entries]
        before = node.needs[: node.needs.index(GATEWAY)]
        offset = sum(len(self.made.get(need, ())) for need in before)
        return [*shifted(self.conditions, offset, len(self.made[GATEWAY])), *entries]

    def note(self, extra: Mapping[str, Any]) -> None:
        """What the answer of a step says beside its parts."""
        if extra.get("filtered"):
            self.filtered = True
        if extra.get("missing"):
            self.lacking = dict([*(self.lacking or {}).items(), *extra["missing"].items()][:_MAX_MISSING])


class Wait:
    """The time that a patient join of a walk waits for more of its needs."""

    __slots__ = ("walk", "join")

    def __init__(self, walk: Walk, join: Node) -> None:
        self.walk = walk
        self.join = join

    @property
    def request(self) -> Message | None:
        """None once it waits no more, as the timers have it."""
        progress = self.walk.progress
        is_over = self.walk.left < 0 or progress is None or progress.is_past(self.join.name)
        return None if is_over else self.walk.request


def _checked_target(pattern: Any) -> re.Pattern[str]:
    """The regular expression that names the Executors a request is meant for; raises InvalidRequest."""
    if not isinstance(pattern, str) or not _TARGET.fullmatch(pattern) or pattern.count("*") > 3:
        raise InvalidRequest(
            f"target_executor {pattern!r:.80} is not a simple pattern: letters, digits, _ | . ^ $ - and at most three *"
        )
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InvalidRequest(f"target_executor {pattern!r}: {error}") from None
