"""Runs one role until it is stopped, blocking: worker, gateway and head processes.

`stop` may be called from a signal handler or another thread: it only writes to a pipe that the loop watches. On the
main thread signals themselves are written to that pipe by the interpreter: one that arrives just before the loop
goes to sleep would otherwise be handled only when something else wakes it. Where somebody has the interpreter write
signals elsewhere already, that is left as it is: whoever reads them there calls `stop`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping

from zflow.drivers.carrier import Carrier, clock
from zflow.drivers.directory import Directory
from zflow.roles.contract import Role
from zflow.wire.header import Message

_LINGER_MS = 1000

LocalEnd = Callable[[Message], Message]


class Reactor:
    """`role` behind a bound socket. `local` maps the local link "executor" to what runs its REQUESTs, on this thread.

    bind: ``ipc://path`` or ``tcp://host:port`` (port 0: the kernel chooses; `address` tells). Raises PortInUse.
    grace: seconds that `run` may take to drain after `stop`.
    """

    def __init__(
        self,
        role: Role,
        *,
        bind: str,
        directory: Directory | None = None,
        local: Mapping[str, LocalEnd] | None = None,
        grace: float = 25.0,
    ) -> None:
        directory = directory or Directory()
        self._carrier = Carrier(role, directory, bind=bind)
        self._role = role
        self._local = dict(local or {})
        self._grace = grace
        self._wake_in, self._wake_out = os.pipe()
        for descriptor in (self._wake_in, self._wake_out):
            os.set_blocking(descriptor, False)
        self._is_asked_to_stop = False
        self._stop_at: float | None = None
        self._asked: deque[Callable[[], None]] = deque()
        self._carrier.add_reader(self._wake_in, self._wake)
        directory.on_change(self._ring)

    @property
    def address(self) -> str:
        """The address really bound."""
        return self._carrier.address

    def add_reader(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Call `reader` in the loop whenever `descriptor` is readable."""
        self._carrier.add_reader(descriptor, reader)

    def run(self) -> None:
        """Serve until stopped and drained, then close every socket."""
        carrier = self._carrier
        hears_signals = self._hear_signals()
        try:
            while not self._is_done():
                carrier.turn(0.0 if carrier.asked else self._stop_at)
                if carrier.asked:
                    request = carrier.asked.popleft()
                    carrier.deliver("executor", self._local["executor"](request))
                    carrier.expect_many()
        finally:
            if hears_signals:
                signal.set_wakeup_fd(-1)
            carrier.close(_LINGER_MS)
            os.close(self._wake_in)
            wake_out, self._wake_out = self._wake_out, -1  # a late `stop` must not write to who gets the number next
            os.close(wake_out)

    def stop(self, grace: float | None = None) -> None:
        """Begin to drain: take no more work, finish what there is within `grace` seconds, then let `run` return."""
        if grace is not None:
            self._grace = grace
        self._is_asked_to_stop = True
        self._ring()

    def ask(self, what: Callable[[], None]) -> None:
        """Have `what` called by the loop, after it has acted on all that the directory says now. From any thread."""
        self._asked.append(what)
        self._ring()

    def bind(self, address: str) -> str:
        """Listen at `address` as well; call it from the loop. Returns the address really bound; raises PortInUse."""
        return self._carrier.bind(address)

    def _ring(self) -> None:
        try:
            os.write(self._wake_out, b"!")
        except OSError:
            pass  # stopped already, or the pipe is full of earlier calls: either way the loop knows

    def _hear_signals(self) -> bool:
        """Have signals written to the pipe, if this is the thread that gets them and nobody else has asked for them."""
        if threading.current_thread() is not threading.main_thread():
            return False
        previous = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        if previous != -1:
            signal.set_wakeup_fd(previous, warn_on_full_buffer=False)
        return previous == -1

    def _wake(self) -> None:
        os.read(self._wake_in, 4096)
        self._carrier.look_up()
        while self._asked:
            self._asked.popleft()()
        if self._is_asked_to_stop and self._stop_at is None:
            now = clock()
            self._stop_at = now + self._grace
            self._carrier.carry(self._role.drain(now))

    def _is_done(self) -> bool:
        if self._stop_at is None:
            return False
        now = clock()
        return now >= self._stop_at or self._role.is_idle(now) and not self._carrier.asked
