"""Lets only those documents of a request pass that meet the conditions it carries (``!when``, from ``add(when=...)``).

It is done by whoever decodes them, part by part and before branches are put together, so that nothing that carries a
request ever has to look inside.
"""

from __future__ import annotations

from functools import lru_cache

from zflow.documents.document_array import DocumentArray
from zflow.documents.query import Test
from zflow.wire.conditions import WHEN, check_entries, decode_condition
from zflow.wire.frames import DOCUMENTS
from zflow.wire.header import Message

_compiled = lru_cache(maxsize=64)(decode_condition)  # a Flow has few conditions, and sends them with each request


class Sieve:
    """The conditions of one request, applied to its documents parts one after the other.

    Raises InvalidRequest for conditions that are none.
    """

    def __init__(self, request: Message) -> None:
        parts = sum(part.kind == DOCUMENTS for part in request.parts)
        entries = request.extra[WHEN]
        check_entries(entries, parts)
        self._tests: list[list[Test]] = [[] for _ in range(parts)]
        for condition, places in entries:
            test = _compiled(condition)
            for place in range(parts) if places is None else places:
                self._tests[place].append(test)
        self._at = 0
        self._came = self._passed = 0

    def pass_through(self, documents: DocumentArray) -> DocumentArray:
        """Those of the next part's documents that meet its conditions."""
        tests = self._tests[self._at]
        self._at += 1
        self._came += len(documents)
        for test in tests:
            passed = list(filter(test, documents))
            if len(passed) < len(documents):
                documents = DocumentArray(passed)
        self._passed += len(documents)
        return documents

    @property
    def has_kept_all_back(self) -> bool:
        """Whether there were documents, and none has passed: then the request is not for this Executor."""
        return self._came > 0 and self._passed == 0
