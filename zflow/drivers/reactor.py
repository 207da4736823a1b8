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
from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol

from zflow.drivers.carrier import Carrier, clock
from zflow.drivers.directory import Directory
from zflow.drivers.porter import Porter
from zflow.roles.contract import EXECUTOR, Batch, Role, Steps
from zflow.wire.header import Kind, Message

_LINGER_MS = 1000
_LONG = 1e-3  # seconds of a call from which on a porter is worth its while: calling it costs 20 us
_BETWEEN_LOOKS = 50e-6  # seconds; what comes in meanwhile would otherwise have come one item later


class LocalEnd(Protocol):
    """What is at the local link "executor": it hears messages, and says others at once or when it is stepped."""

    def attach(self, *, wake: Callable[[], None], look: Callable[[], None]) -> None:
        """wake: ends the loop's sleep, from any thread. look: has the loop read what waits, while it is called."""

    def __call__(self, message: Message) -> Message | None:
        """Hear `message`; what there is to say to it at once."""

    @property
    def is_ready(self) -> bool:
        """Whether `step` has something to do."""

    def step(self) -> Message | None:
        """Go on with what is under way; what there is to say now."""


class Reactor:
    """`role` behind a bound socket. executor: what runs the REQUESTs for the local link "executor", on this thread.

    bind: ``ipc://path`` or ``tcp://host:port`` (port 0: the kernel chooses; `address` tells). Raises PortInUse.
    has_porter: another thread keeps the door while the executor takes its time. grace: seconds that `run` may take to
    drain after `stop`. keys, report: as for the Carrier. Raises ConfigError for keys that cannot be used.
    """

    def __init__(
        self,
        role: Role,
        *,
        bind: str,
        directory: Directory | None = None,
        executor: LocalEnd | None = None,
        has_porter: bool = False,
        grace: float = 25.0,
        keys: str = "",
        report: Callable[[str], None] | None = None,
    ) -> None:
        directory = directory or Directory()
        reporting = {} if report is None else {"report": report}
        self._carrier = Carrier(role, directory, bind=bind, keys=keys, **reporting)
        self._role = role
        self._executor = executor
        self._grace = grace
        self._wake_in, self._wake_out = os.pipe()
        for descriptor in (self._wake_in, self._wake_out):
            os.set_blocking(descriptor, False)
        self._is_asked_to_stop = False
        self._stop_at: float | None = None
        self._asked: deque[Callable[[], None]] = deque()
        self._carrier.add_reader(self._wake_in, self._woken)
        directory.on_change(self._wake)
        self._thread = 0
        self._porter = Porter(self._carrier, self._wake) if has_porter else None
        if executor is not None:
            executor.attach(wake=self._wake, look=self._look)

    @property
    def address(self) -> str:
        """The address really bound."""
        return self._carrier.address

    def add_reader(self, descriptor: int, reader: Callable[[], None]) -> None:
        """Call `reader` in the loop whenever `descriptor` is readable."""
        self._carrier.add_reader(descriptor, reader)

    def run(self) -> None:
        """Serve until stopped and drained, then close every socket."""
        self._thread = threading.get_ident()
        hears_signals = self._hear_signals()
        porter = self._porter
        try:
            if porter is None:
                self._serve()
            else:
                with porter:
                    self._serve_with(porter)
        finally:
            if hears_signals:
                signal.set_wakeup_fd(-1)
            self._carrier.close(_LINGER_MS)
            os.close(self._wake_in)
            wake_out, self._wake_out = self._wake_out, -1  # a late `stop` must not write to who gets the number next
            os.close(wake_out)

    def stop(self, grace: float | None = None) -> None:
        """Begin to drain: take no more work, finish what there is within `grace` seconds, then let `run` return."""
        if grace is not None:
            self._grace = grace
        self._is_asked_to_stop = True
        self._wake()

    def ask(self, what: Callable[[], None]) -> None:
        """Have `what` called by the loop, after it has acted on all that the directory says now. From any thread."""
        self._asked.append(what)
        self._wake()

    def bind(self, address: str) -> str:
        """Listen at `address` as well; call it from the loop. Returns the address really bound; raises PortInUse."""
        return self._carrier.bind(address)

    def _wake(self) -> None:
        """End the loop's sleep, from whatever thread."""
        try:
            os.write(self._wake_out, b"!")
        except OSError:
            pass  # stopped already, or the pipe is full of earlier calls: either way the loop knows

    def _serve(self) -> None:
        carrier, executor = self._carrier, self._executor
        while not self._is_done():
            if executor is None:
                carrier.turn(self._stop_at)
                continue
            carrier.turn(0.0 if carrier.asked or executor.is_ready else self._stop_at)
            self._go_on(executor)

    def _serve_with(self, porter: Porter) -> None:
        """As above; and while user code runs that takes its time, the porter keeps the door."""
        carrier, executor = self._carrier, self._executor
        assert executor is not None
        asked = carrier.asked
        answers: Steps = []
        is_long = False  # so was the last call, and so will be the next
        while answers or not self._is_done():
            carrier.turn(0.0 if answers or asked or executor.is_ready else self._stop_at)
            begun = clock()
            is_call = bool(asked) and asked[0].kind is Kind.REQUEST
            if is_call and (is_long or isinstance(asked[0], Batch)):
                with porter.at_the_door(answers):
                    said = executor(asked.popleft())
                answers = [] if said is None else carrier.hear(EXECUTOR, said)
                carrier.expect_many()
            else:
                if answers:
                    carrier.carry(answers)
                    answers = []
                self._go_on(executor)
            if is_call:
                is_long = clock() - begun > _LONG

    def _go_on(self, executor: LocalEnd) -> None:
        """Begin what was asked, or go on with what is under way."""
        carrier = self._carrier
        if carrier.asked:
            said = executor(carrier.asked.popleft())
        elif executor.is_ready:
            said = self._step_on(executor)
        else:
            return
        if said is not None:
            carrier.deliver(EXECUTOR, said)
        carrier.expect_many()

    def _step_on(self, executor: LocalEnd) -> Message | None:
        """Step until it is time to look at the door again; what the last step had to say.

        A look costs as much as a small item, and a message takes longer to come than some of these take to be made.
        """
        look_at = clock() + _BETWEEN_LOOKS
        said = executor.step()
        while executor.is_ready and clock() < look_at:
            if said is not None:
                self._carrier.deliver(EXECUTOR, said)
            said = executor.step()
        return said

    def _look(self) -> None:
        """Read what waits while user code runs: it wants to know whether somebody still waits for it.

        What is to be begun waits until user code is done. Asked by another thread than the loop's, it does nothing.
        """
        if threading.get_ident() != self._thread or self._executor is None:
            return
        with nullcontext() if self._porter is None else self._porter.place:
            heard = self._heard_meanwhile()
        for message in heard:
            self._executor(message)

    def _heard_meanwhile(self) -> list[Message]:
        carrier = self._carrier
        if self._porter is None or not self._porter.is_at_the_door:
            carrier.expect_many()
            carrier.turn(0.0)
        heard = [message for message in carrier.asked if message.kind is not Kind.REQUEST]
        if heard:
            begun = [message for message in carrier.asked if message.kind is Kind.REQUEST]
            carrier.asked.clear()
            carrier.asked.extend(begun)
        return heard

    def _hear_signals(self) -> bool:
        """Have signals written to the pipe, if this is the thread that gets them and nobody else has asked for them."""
        if threading.current_thread() is not threading.main_thread():
            return False
        previous = signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        if previous != -1:
            signal.set_wakeup_fd(previous, warn_on_full_buffer=False)
        return previous == -1

    def _woken(self) -> None:
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
