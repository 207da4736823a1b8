"""Endpoints that an Executor does not answer: its Documents pass as they are, and whoever misspelled a word is told.

In a Flow of several Executors it is usual that one of them answers for all; there only what is nearly a word of ours is
worth a line. Each endpoint is told once, and only so many of them: strangers may think of any number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zflow.errors import nearest

_MOST = 16


class Unanswered:
    """Tells `remark` of requests to other endpoints than those that are `known`."""

    def __init__(self, known: Sequence[str], remark: Callable[[str], None]) -> None:
        self._known = known
        self._remark = remark
        self._told: set[str] = set()

    def tell(self, endpoint: str, nodes: Sequence[str]) -> None:
        """nodes: the names of the graph that asks, as far as they are known."""
        if not self._known or endpoint in self._told or len(self._told) >= _MOST:
            return
        self._told.add(endpoint)
        hint = nearest(endpoint, self._known)
        if len(nodes) < 2 or hint.startswith("did you mean"):
            self._remark(f"nothing here answers {endpoint!r:.80} ({hint}): its Documents pass as they are")
