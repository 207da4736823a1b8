"""Requests whose every outcome and every run is known, asked by several threads while something is done to a Flow."""

from __future__ import annotations

import collections
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import wait_for
from zflow import Document, Executor, requests
from zflow.errors import ZflowError

PATIENCE = 60.0  # seconds that a request may take at most: whoever waits so long has lost it


class Counting(Executor):
    """Notes each run, in one line of a file that all replicas append to, and answers with the request's text."""

    def __init__(self, runs: str, takes: float = 0.002, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.runs, self.takes = runs, takes

    @requests
    def count(self, docs, **kwargs):
        note(self.runs, docs[0].text)
        time.sleep(self.takes)
        docs.texts = [f"{text}!" for text in docs.texts]

    def close(self) -> None:
        note(f"{self.runs}.closed", "closed")


def note(path: str, text: str) -> None:
    """One write of one line to a file that is only ever appended to: lines of several processes do not mix."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


class Runs:
    """The file of the runs."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "runs")

    def of_each(self) -> collections.Counter[str]:
        """How often each request was run."""
        return collections.Counter(_lines(self.path))

    def closed(self) -> int:
        """How many Executors have been closed."""
        return len(_lines(f"{self.path}.closed"))


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


class Load:
    """`many` requests, each asked once, by the threads of a block; what has become of each is known after it.

    answers: how often each was answered rightly. wrong: other answers. errors: by request.
    """

    def __init__(self, askers: Sequence[Any], many: int, timeout: float = PATIENCE) -> None:
        self.answers: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.errors: dict[str, ZflowError] = {}
        self.slowest = 0.0
        self._timeout = timeout
        self._pending = collections.deque(f"request {number}" for number in range(many))
        self._many = many
        self._threads = [threading.Thread(target=self._ask, args=(asker,), daemon=True) for asker in askers]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        for thread in self._threads:
            thread.join(2 * self._timeout)

    @property
    def ended(self) -> int:
        """How many have come to an outcome."""
        return sum(self.answers.values()) + len(self.wrong) + len(self.errors)

    def reach(self, many: int) -> None:
        """Let so many come to an outcome."""
        wait_for(lambda: self.ended >= min(many, self._many), f"{many} outcomes", timeout=2 * PATIENCE)

    def _ask(self, asker: Any) -> None:
        while True:
            try:
                text = self._pending.popleft()
            except IndexError:
                return
            began = time.monotonic()
            try:
                answer = asker.post("/", Document(text=text), timeout=self._timeout).texts
                if answer == [f"{text}!"]:
                    self.answers[text] += 1
                else:
                    self.wrong.append(f"{text}: {answer}")
            except ZflowError as error:
                self.errors[text] = error
            self.slowest = max(self.slowest, time.monotonic() - began)

    def check_all_answered(self) -> None:
        """0 lost, 0 duplicate, 0 errors."""
        assert not self.errors, self.errors
        self.check_one_outcome_each()

    def check_one_outcome_each(self) -> None:
        """0 lost, 0 duplicate; errors are outcomes, too."""
        assert not self.wrong, self.wrong
        assert self.ended == self._many, f"{self.ended} of {self._many}"
        assert set(self.answers.values()) <= {1} and not set(self.answers) & set(self.errors)
