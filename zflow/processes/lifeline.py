"""How a process of the plan ends: asked, in a hurry, or by force; close() runs once on every way.

It is asked to end by SIGTERM (where nobody supervises it, by SIGINT too), by the word ``stop`` of its supervisor, or by
the end of its parent. Then it drains: takes no more work, finishes what there is, closes, exits with 0. A second
signal, or the end of its grace, ends it by force: close() gets two more seconds, then the process is gone, whatever
runs in it.

A thread listens, because user code may keep the main thread busy for as long as it likes. Signals reach it through a
wake-up descriptor, which the C half of Python's handler writes to even while the main thread is deep in C code.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType

from zflow.processes.channel import Channel, Words, parent_descriptor
from zflow.processes.logs import Log

GRACE = 25.0
CLOSE_PATIENCE = 2.0
_LAST_MOMENT = 0.25  # seconds after the grace in which what gave up draining can still end in order
TERMINATED = 128 + signal.SIGTERM
_ORPHANS_GRACE = 0.25  # all of it must be over before the warm parent kills, 0.8 s after its own end
_ORPHANS_CLOSE = 0.25
_PARENTS_DIE_WITHIN = 0.2
_OURS = os.path.dirname(__file__)


class Lifeline:
    """The listening of one process. channel: of its supervisor, None where nobody supervises.

    hear: gets the supervisor's words that are not about ending. leave: last tidying, run however the process ends.
    tell_where: answers the supervisor who asks what keeps it so long.
    is_asked: it is ending. is_abandoned: the supervisor is known to be gone.
    Made on the main thread, for only there may signals be handled; elsewhere it does without them.
    """

    def __init__(
        self,
        channel: Channel | None,
        log: Log,
        *,
        hear: Callable[[Words], None] = lambda words: None,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.hear = hear
        self.leave = leave
        self.tell_where: Callable[[], None] = self._tell_where
        self.is_asked = False
        self.is_abandoned = False
        self._is_orphan = False
        self._channel = channel
        self._log = log
        self._deadline: float | None = None
        self._stop: Callable[[float], None] | None = None
        self._grace = GRACE
        self._close: Callable[[], None] | None = None
        self._closing = threading.Lock()
        self._is_ending = False
        self._main = threading.main_thread().ident or 0
        self._own_signals = 0
        self._signals_seen = 0
        self._signals_handled = 0
        self._because = "its time is over"
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._ending_signals: Sequence[int] = ()
        if threading.current_thread() is threading.main_thread():
            self._handle_signals()
        threading.Thread(target=self._listen, name="zflow-lifeline", daemon=True).start()

    # -- for the main thread -----------------------------------------------------------------------------------------

    def keep(self, close: Callable[[], None]) -> None:
        """From now on, ending means to run `close`, once."""
        self._close = close

    def serve(self, stop: Callable[[float], None]) -> None:
        """From now on, being asked to end means to call `stop`, not to interrupt what runs.

        stop: is told how many seconds there are; called from any thread, perhaps twice.
        """
        self._stop = stop
        if self.is_asked:
            stop(self._grace)

    def end(self) -> None:
        """Run what `keep` was given, if it has not run. Whoever comes second waits until it has."""
        self._is_ending = True
        self._stop = None
        self._must_end_within(GRACE)
        with self._closing:
            close, self._close = self._close, None
            if close is not None:
                try:
                    close()
                except BaseException as error:  # SystemExit as well: it must not spoil how the process ends
                    self._log.failure(error)

    def was_abandoned(self) -> bool:
        """Whether the supervisor is gone. An orphan waits a moment to see it: parents are killed one after another."""
        if self._is_orphan and not self.is_abandoned and self._channel is not None:
            poll = select.poll()
            poll.register(self._channel, select.POLLRDHUP)
            self.is_abandoned = bool(poll.poll(_PARENTS_DIE_WITHIN * 1000))
        return self.is_abandoned

    # -- asked ---------------------------------------------------------------------------------------------------------

    def ask(self, grace: float = GRACE) -> None:
        """Begin to end. Safe in a signal handler: it takes no lock."""
        if not self.is_asked:
            self.is_asked, self._grace = True, grace
            self._must_end_within(grace + _LAST_MOMENT)
            stop = self._stop
            if stop is not None:
                stop(grace)

    def _must_end_within(self, grace: float) -> None:
        deadline = time.monotonic() + grace
        if self._deadline is None or deadline < self._deadline:
            self._deadline = deadline
            with contextlib.suppress(OSError):
                self._wake_out.send(b"\0")  # the listener sleeps until a deadline that it did not know

    def _handle_signals(self) -> None:
        if self._channel is None:
            self._ending_signals = (signal.SIGTERM, signal.SIGINT)
        else:
            self._ending_signals = (signal.SIGTERM,)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the Flow's process to answer
        for number in self._ending_signals:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Python's half. It comes late, but also where user code has taken the wake-up descriptor for itself."""
        self._signals_handled += 1
        self._count(self._signals_handled)
        if self._stop is None and not self._is_ending:
            raise SystemExit(TERMINATED)  # there is nothing to drain yet: leave the user's __init__

    # -- the listener --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._wake_in, select.POLLIN)
        channel = self._channel.fileno() if self._channel is not None else None
        parent = parent_descriptor() if self._channel is not None else None
        for source in (channel, parent):
            if source is not None:
                poll.register(source, select.POLLIN)
        ready: list[int | None] = [channel]  # words may have come with the plan
        while True:
            if self._wake_in.fileno() in ready:
                self._read_signals()
            if channel is not None and channel in ready and not self._hear_supervisor():
                poll.unregister(channel)
            if parent is not None and parent in ready:
                poll.unregister(parent)
                self._be_orphan()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._end_by_force()
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic()) * 1000
            ready = [source for source, _ in poll.poll(left)]

    def _read_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._signals_seen += sum(number in self._ending_signals for number in self._wake_in.recv(512))
        self._count(self._signals_seen)

    def _count(self, signals: int) -> None:
        """Once is a wish, twice is an order."""
        if signals > self._own_signals:
            self.ask()
        if signals > self._own_signals + 1:
            self._because = "it was asked twice"
            self._must_end_within(0.0)

    def _hear_supervisor(self) -> bool:
        """Hear what it says. False when there will be no more of it."""
        try:
            for words in self._channel.receive() if self._channel is not None else ():
                if "stop" in words:
                    self._asked_by_word(words["stop"])
                elif "where" in words:
                    self.tell_where()
                else:
                    self.hear(words)
        except EOFError:
            self.is_abandoned = True
            self._be_orphan()
        return not self.is_abandoned

    def _be_orphan(self) -> None:
        self._is_orphan = True
        self._asked_by_word(_ORPHANS_GRACE)

    def _asked_by_word(self, grace: float) -> None:
        self._must_end_within(grace + _LAST_MOMENT)
        self.ask(grace)
        if self._stop is None and not self._is_ending:
            self._own_signals += 1
            signal.pthread_kill(self._main, signal.SIGTERM)  # the user's __init__ may be asleep in the kernel

    def _tell_where(self) -> None:
        if self._channel is not None:
            self._channel.send({"where": at_work(self._main)})

    def _end_by_force(self) -> None:
        self._log.warning("%s: ended by force", self._because)
        closer = threading.Thread(target=self.end, daemon=True)
        closer.start()
        closer.join(_ORPHANS_CLOSE if self._is_orphan else CLOSE_PATIENCE)
        self.leave()
        os._exit(TERMINATED)


def at_work(thread: int) -> str:
    """What `thread` is doing, as a traceback without what is the same for every child."""
    frame = sys._current_frames().get(thread)
    stack = traceback.extract_stack(frame) if frame is not None else []
    users = itertools.dropwhile(lambda entry: entry.filename.startswith(("<string>", _OURS)), stack)
    return "".join(traceback.format_list(list(users)))
