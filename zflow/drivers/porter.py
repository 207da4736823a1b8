"""Keeps the door while user code runs that takes its time: on a thread of its own, and only then.

What a request costs a worker besides user code (to be read, opened, answered) would be paid between two calls, for a
batch as often as it has requests. A model spends its time outside of Python's lock: meanwhile the porter sends the
answers of the last call and reads the requests of the next. User code stays on the thread that its Executor was made
on, because connections, handles of devices and whatever is bound to a thread were made there.

User code that keeps Python's lock would keep the answers from leaving, one every 5 ms. Whether it does is not asked but
seen: where answers are left when it returns, the next call has no porter, and after each such time twice as many.

Measured (2 cores): batches of 32 for a model of 8.2 ms, of the ideal 3,902 documents a second 3,540 with a porter and
3,070 without; where all of the 8.2 ms are Python 3,040-3,120 and 2,850-3,150, and 2,360 with one that never rested.
Four replicas of 5 ms, of the ideal 800 requests a second: 750 with and 739 without.

A carrier belongs to whoever holds `place`: the thread of user code, unless that is at work. The porter sleeps without
it, on descriptors, which tell only that something *may* have come (see asynchronous.py), and finds out when it has it.
"""

from __future__ import annotations

import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from zflow.drivers.carrier import Carrier, clock
from zflow.roles.contract import Step, Steps

_PATIENCE = 5.0  # seconds until the porter has left; it waits for nothing but sockets
_LONGEST_PAUSE = 1024  # calls
_LONGEST = 3600.0  # seconds of one sleep; poll counts milliseconds in 31 bits


class Porter:
    """Of one `carrier`, which belongs to who enters. wake: ends its sleep, by something that the carrier reads.

    place: whoever uses the carrier holds it. is_at_the_door: the porter does, or will at once.
    """

    def __init__(self, carrier: Carrier, wake: Callable[[], None]) -> None:
        self.place = threading.RLock()
        self.is_at_the_door = False
        self._carrier = carrier
        self._wake = wake
        self._answers: deque[Step] = deque()
        self._rests = 0  # calls that are run without it
        self._pause = 1  # how many of them, next time
        self._is_dismissed = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Porter:
        self.place.acquire()
        return self

    def __exit__(self, *exception: object) -> None:
        """It leaves, and the carrier may be closed."""
        self._is_dismissed = True
        self._wake()
        with suppress(RuntimeError):  # an exception came while it was to be taken back
            self.place.release()
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    @contextmanager
    def at_the_door(self, answers: Steps) -> Iterator[None]:
        """Meanwhile it sends `answers` and whatever else there is to say, and reads what comes in.

        Raises afterwards what it has failed by.
        """
        if self._rests or not self._is_there():
            self._rests = max(0, self._rests - 1)
            self._carrier.carry(answers)
            yield
            return
        self._answers.extend(answers)
        self.is_at_the_door = True
        self._wake()
        self.place.release()
        try:
            yield
        finally:
            self.is_at_the_door = False
            self.place.acquire()
            if self._failure is None:
                self._learn(bool(answers))
        if self._failure is not None:
            raise self._failure

    def _is_there(self) -> bool:
        """Whether it lives by now. Where there is no room for another thread it does not, and is asked again later."""
        if self._thread is None:
            thread = threading.Thread(target=self._live, name="zflow-porter", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._rests = _LONGEST_PAUSE
                return False
            self._thread = thread
        return True

    def _learn(self, had_answers: bool) -> None:
        """Send what it has not come to, and see from that whether it is of any use."""
        if self._answers:
            self._rests, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
            self._carrier.carry(self._answers)
            self._answers.clear()
        elif had_answers:
            self._pause = 1

    def _live(self) -> None:
        poll, version = select.poll(), -1
        carrier = self._carrier
        try:
            while not self._is_dismissed:
                with self.place:
                    while self.is_at_the_door and self._answers:
                        carrier.carry((self._answers.popleft(),))
                    while self.is_at_the_door and carrier.turn(0.0):
                        pass
                    if version != carrier.descriptors_version:
                        poll, version = _poll_of(carrier), carrier.descriptors_version
                    due = carrier.next_due()
                left = _LONGEST if due is None else max(0.0, min(due - clock(), _LONGEST))
                poll.poll(int(left * 1000) + 1)
        except BaseException as error:  # it ends the process, as soon as user code lets it
            self._failure = error


def _poll_of(carrier: Carrier) -> select.poll:
    poll = select.poll()
    for descriptor in carrier.descriptors():
        poll.register(descriptor, select.POLLIN)
    return poll
