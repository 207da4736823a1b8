"""Many requests at once, of which every outcome is noted, and what happens to the processes meanwhile.

Who sends a request is told its outcome exactly once; that is what `Rush` counts. What ran where and how often is in
the diary that all replicas of a `Diarist` append to. Faults follow the count of outcomes and not the clock, so that
they fall into the same part of a rush on any machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.processes import wait_for
from zflow import Document, Executor, requests
from zflow.errors import ZflowError

BUDGET = 20.0  # seconds for each request
WORK = 0.002  # seconds that each takes

Deed = Callable[[], bool]


class Diarist(Executor):
    """Writes each request down as it begins it, works for 2 ms, and answers in capitals."""

    def __init__(self, diary: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._diary = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @requests
    def once(self, docs, **kwargs):
        self._work(docs)

    @requests(on="/again", idempotent=True)
    def again(self, docs, **kwargs):
        self._work(docs)

    def _work(self, docs):
        for doc in docs:
            os.write(self._diary, f"{doc.text}\n".encode())
            time.sleep(WORK)
            doc.text = doc.text.upper()


class Rush:
    """What became of `many` requests, sent through `asker` with up to `outstanding` of them on their way.

    errors: by the text of the request. slowest: seconds, from when a request was made to its outcome.
    """

    def __init__(self, asker: Any, many: int, *, on: str = "/", outstanding: int = 64, timeout: float | None = BUDGET):
        self.many = many
        self.errors: dict[str, ZflowError] = {}
        self.seconds: list[float] = []
        self._outcomes: Counter[str] = Counter()
        self._made: dict[str, float] = {}
        self._wrong: list[str] = []
        self._asker = asker
        self._options: Mapping[str, Any] = {"on": on, "prefetch": outstanding, "timeout": timeout, "request_size": 1}

    def run(self, *, every: int = 0, deed: Deed | None = None) -> Rush:
        """Ask, and after each `every` outcomes do `deed`; where that returns False, again after the next outcome."""
        due = every

        def note(response: Any, error: ZflowError | None) -> None:
            nonlocal due
            self._note(response, error)
            if deed is not None and len(self.seconds) >= due and deed():
                due += every

        self._asker.post(inputs=self._documents(), on_always=note, on_error=lambda: None, **self._options)
        return self

    def _documents(self) -> Iterator[Document]:
        for number in range(self.many):
            text = f"request {number}"
            self._made[text] = time.monotonic()
            yield Document(text=text)

    def _note(self, response: Any, error: ZflowError | None) -> None:
        [told] = response.docs.texts
        text = told.lower()
        self._outcomes[text] += 1
        self.seconds.append(time.monotonic() - self._made.get(text, 0.0))
        if error is not None:
            self.errors[text] = error
        elif told != text.upper():
            self._wrong.append(told)

    @property
    def slowest(self) -> float:
        return max(self.seconds)

    def percentile(self, part: float) -> float:
        """The time that `part` of the requests took no longer than."""
        return sorted(self.seconds)[int(part * (len(self.seconds) - 1))]

    def check(self) -> None:
        """Each request has one outcome, none of them late, and each answer is that of its own request."""
        assert set(self._outcomes) == set(self._made) and len(self._made) == self.many, "requests were lost"
        assert set(self._outcomes.values()) == {1}, "requests were answered twice"
        assert self._wrong == []
        assert self.slowest < BUDGET + 1.0

    def told(self, fault: str) -> str:
        """The figures, in a line for whoever runs the full counts."""
        kinds = Counter(type(error).__name__ for error in self.errors.values())
        figures = f"p50 {self.percentile(0.5) * 1e3:.0f} ms, p99 {self.percentile(0.99) * 1e3:.0f} ms"
        return f"{self.many} requests, {fault}: errors {dict(kinds)}, {figures}, slowest {self.slowest:.2f} s"


def runs(diary: Path) -> Counter[str]:
    """How often each request has run."""
    return Counter(diary.read_text().splitlines())


class Victims:
    """The replicas of what is `served`, in turn: something happens to one of them while another one is in service.

    names: what the names of those have in common that are taken; least: how many must be in service to take one.
    """

    def __init__(self, served: Any, names: str = "/rep-", *, least: int = 2) -> None:
        self.count = 0
        self._served = served
        self._names = names
        self._least = least
        self._last = ""
        self._thawing: list[threading.Timer] = []

    def pids(self) -> dict[str, int]:
        """Those that are in service."""
        ready = [status for status in self._served.status() if status.state == "ready" and status.pid]
        return {status.name: status.pid for status in ready if self._names in status.name}

    def next(self, number: int) -> int | None:
        """Send the signal `number` to the one whose turn it is, and give its pid; None where too few are there."""
        pids = self.pids()
        if len(pids) < self._least:
            return None
        self._last = next((name for name in pids if name > self._last), min(pids))
        self.count += 1
        os.kill(pids[self._last], number)
        return pids[self._last]

    def kill(self) -> bool:
        """The deed of killing the next one."""
        return self.next(signal.SIGKILL) is not None

    def terminate(self) -> bool:
        """The deed of telling the next one to end."""
        return self.next(signal.SIGTERM) is not None

    def freeze(self, seconds: float) -> bool:
        """The deed of stopping the next one for a while."""
        pid = self.next(signal.SIGSTOP)
        if pid is None:
            return False
        self._thawing.append(timer := threading.Timer(seconds, thaw, [pid]))
        timer.start()
        return True

    def thaw(self) -> None:
        """Let everybody go on who was stopped."""
        for timer in self._thawing:
            timer.cancel()
            timer.join()
            thaw(timer.args[0])

    def wait(self) -> None:
        """Until everybody is in service."""
        wait_for(self._all_are_ready, "everybody to be in service again")

    def _all_are_ready(self) -> bool:
        return all(status.state == "ready" for status in self._served.status())


def thaw(pid: int) -> None:
    """Let it go on, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
