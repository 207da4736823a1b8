"""ZAP: answers libzmq's questions who may come in at a socket with CURVE, and tells whose message a message is.

libzmq asks at a fixed inproc address for each handshake (ZeroMQ RFC 27), on a thread of its own so that handshakes go
on while user code runs. Without an answer nobody comes in; without anybody at that address everybody does. So the
socket there is opened before the port and outlives every failure of the thread, and a message whose connection was
not let in here has no user id and is not heard.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Any

import zmq

from zflow.config import keys
from zflow.drivers.sockets import has_input
from zflow.errors import ConfigError
from zflow.roles.admission import ALLOWED, LATER, REFUSED, Admission
from zflow.wire.header import Kind, Message

_STATUS = {ALLOWED: b"200", REFUSED: b"400", LATER: b"500"}
_MOST_LATE = 1000  # answers that wait for their time; more are given at once
_TELL_EVERY = 10.0  # seconds between two lines about handshakes that were not let in
_OWN = keys.Entry("this-side")

clock = time.monotonic


class Authenticator:
    """The ZAP handler of `context`, for the keys in `folder`; whoever has the pair of the folder itself is let in.

    report: tells people in one line what they should know. Raises ConfigError for keys that cannot be used.
    """

    def __init__(self, context: zmq.Context[Any], folder: str, report: Callable[[str], None]) -> None:
        self.identity = keys.load(folder)
        self.restarts = 0
        self._folder = folder
        self._list = Path(folder) / keys.ALLOWED
        self._report = report
        self._admission = Admission()
        self._lock = threading.Lock()
        self._entries: dict[str, keys.Entry] = {}
        self._seen: tuple[int, ...] = (-1,)
        self._numbers = count()
        self._late: list[tuple[float, int, list[bytes]]] = []
        self._told_at = -_TELL_EVERY
        self._told = 0
        self._refused_from = ""
        self._monitor: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._wake_in, self._wake_out = os.pipe()
        self._questions: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self._questions.setsockopt(zmq.LINGER, 0)
        self._questions.bind("inproc://zeromq.zap.01")
        faults = self.refresh()
        if faults:
            self.close()
            raise ConfigError("; ".join(faults))

    def watch(self, monitor: zmq.Socket[bytes]) -> None:
        """Begin: the port is bound, and `monitor` tells who connects to it and who leaves."""
        self._monitor = monitor
        self._thread = threading.Thread(target=self._run, name="zflow-authenticator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread. Call it after the port is closed: while it is open, somebody must say no."""
        if self._thread is not None:
            os.write(self._wake_out, b"!")
            self._thread.join()
        for descriptor in (self._wake_in, self._wake_out):
            os.close(descriptor)
        if self._monitor is not None:
            self._monitor.close()
        self._questions.close()

    # -- for who reads the port --------------------------------------------------------------------------------------

    def refresh(self) -> tuple[str, ...]:
        """Read the list again if it has changed: a key that was taken off must not be heard once more.

        A list that cannot be read lets nobody in. Returns what is wrong with it, which is reported as well.
        """
        seen = _signature(self._list)
        if seen == self._seen:
            return ()
        with self._lock:
            try:
                allowed = keys.read_allowed(self._folder) if seen else keys.Allowed({})
            except ConfigError as error:
                allowed = keys.Allowed({}, (f"nobody is let in: {error}",))
            self._entries = {**allowed.entries, self.identity.public: _OWN}
            is_first, self._seen = self._seen == (-1,), seen
        if not is_first:
            for fault in allowed.faults:
                self._report(fault)
        return allowed.faults

    def entry_of(self, frame: Any) -> keys.Entry | None:
        """Whose message the `frame` belongs to; None where its key is on the list no more."""
        try:
            return self._entries.get(frame.get("User-Id"))
        except zmq.ZMQError:  # it has none: nobody was asked when it came in
            return None

    def note(self, frame: Any, message: Message) -> None:
        """A message is heard; a HELLO tells which connection is whose."""
        if message.kind is Kind.HELLO:
            with self._lock, contextlib.suppress(zmq.ZMQError, ValueError):
                self._admission.recognized(int(frame.get("__fd")), frame.get("User-Id"))

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                self._serve()
                return
            except Exception as error:  # nobody comes in while it is not served, and who is in stays in
                self.restarts += 1
                self._report(f"the check of keys failed, and goes on: {error!r}")
                time.sleep(0.1)

    def _serve(self) -> None:
        monitor = self._monitor
        assert monitor is not None
        poller = zmq.Poller()
        for source in (self._wake_in, self._questions, monitor):
            poller.register(source, zmq.POLLIN)
        while True:
            pause = max(0.0, self._late[0][0] - clock()) if self._late else None
            ready = dict(poller.poll(None if pause is None else int(pause * 1000) + 1))
            if self._wake_in in ready:
                return
            asked = []
            while self._questions in ready and has_input(self._questions):
                asked.append(self._questions.recv_multipart(zmq.NOBLOCK))
            self._hear_events(monitor)  # after the questions were read: who left before they were asked is known to
            for question in asked:
                self._judge(question)
            while self._late and self._late[0][0] <= clock():
                self._questions.send_multipart(heappop(self._late)[2], zmq.NOBLOCK)
            self._tell_refusals()

    def _hear_events(self, monitor: zmq.Socket[bytes]) -> None:
        while has_input(monitor):
            described = monitor.recv_multipart(zmq.NOBLOCK)[0]
            event, number = int.from_bytes(described[:2], "little"), int.from_bytes(described[2:6], "little")
            with self._lock:
                if event == zmq.EVENT_ACCEPTED:
                    self._admission.connected(number)
                else:
                    self._admission.disconnected(number)

    def _judge(self, question: list[bytes]) -> None:
        """RFC 27: ... | "" | version | request id | domain | address | identity | mechanism | credentials."""
        at = question.index(b"") + 1
        _, request_id, _, address, _, mechanism, *credentials = question[at:]
        key = _as_text(credentials[0]) if mechanism == b"CURVE" and credentials else ""
        self.refresh()
        now = clock()
        with self._lock:
            verdict = self._admission.decide(key, address.decode("ascii", "replace"), self._entries, now)
        if verdict.answer != ALLOWED:
            self._refused_from = address.decode("ascii", "replace")
        user = key.encode() if verdict.answer == ALLOWED else b""
        answer = [*question[:at], b"1.0", request_id, _STATUS[verdict.answer], verdict.answer.encode(), user, b""]
        due = now + verdict.after if len(self._late) < _MOST_LATE else now
        heappush(self._late, (due, next(self._numbers), answer))

    def _tell_refusals(self) -> None:
        counts, now = self._admission.counts, clock()
        refused = counts[REFUSED] + counts[LATER]
        if refused > self._told and now - self._told_at >= _TELL_EVERY:
            told = f"handshakes that were not let in: {refused - self._told}, the last from {self._refused_from}"
            self._report(f"{told} (so far {counts[REFUSED]} keys not on {self._list}, {counts[LATER]} above a limit)")
            self._told, self._told_at = refused, now


def _as_text(key: bytes) -> str:
    """A key of 32 bytes in Z85."""
    from zmq.utils import z85  # only where there are keys

    return z85.encode(key).decode("ascii") if len(key) == 32 else ""


def _signature(path: Path) -> tuple[int, ...]:
    """What tells one state of a file from another; empty where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return ()
    return about.st_mtime_ns, about.st_size, about.st_ino, about.st_mode
