"""The process that every process of a Flow is born from: clean, warm, and dead no later than the Flow.

It has imported what workers need, but opened no context, made no socket of ZeroMQ and started no thread, so that it
can be forked; each child shares its memory. It alone is the children's parent: it reaps them, tells the supervisor how
they ended, and when the supervisor is gone, however it went, it ends them and removes their sockets.

What it is told: ``{"child": name, "fork": bool, "preload": [modules], "env": {...}}`` with the child's end of its
channel, ``{"kill": pid}``, ``{"directory": path}``. What it tells: ``{"child": name, "pid": pid, "because": why it was
not forked}``, the same without a pid when there is no child, and ``{"ended": pid, "status": exit status}``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from zflow.config import environment
from zflow.processes import socket_directory
from zflow.processes.channel import Channel, Words, parent_descriptor
from zflow.processes.interpreter import command
from zflow.processes.logs import stand_ready

FAREWELL = 0.8  # seconds between SIGTERM and SIGKILL for the children of a dead supervisor
_TASKS = "/proc/self/task"
_DESCRIPTORS = "/dev/fd"
_ENTRY = "zflow.processes.entry"
_LOOK_AGAIN_MS = 500


def main(control: int) -> NoReturn:
    """Serve the supervisor at the descriptor `control`. A forked child leaves through here, too, into its own life."""
    gc.disable()  # nothing here is garbage, and a collection would touch pages that children could have shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the thread that started us may have blocked some
    live = WarmParent(Channel.of_descriptor(control)).run()
    if live is None:
        os._exit(0)  # nothing here needs tidying, and the supervisor waits for us
    _leave(live())


class WarmParent:
    """The loop: what the supervisor says, and which children ended."""

    def __init__(self, supervisor: Channel) -> None:
        self._supervisor = supervisor
        self._children: set[int] = set()
        self._directory: str | None = None
        self._wake_in, self._wake_out = os.pipe()

    def run(self) -> Callable[[], int] | None:
        """Serve until the supervisor is gone. Returns in a forked child what it is to do, in the parent None."""
        self._listen_for_exits()
        parent, parent_ended = os.getppid(), parent_descriptor()
        poll = select.poll()
        for source in (self._supervisor.fileno(), self._wake_in, parent_ended):
            if source is not None:
                poll.register(source, select.POLLIN)
        while os.getppid() == parent:
            try:
                for words in self._supervisor.receive():
                    live = self._obey(words)
                    if live is not None:
                        return live
            except EOFError:
                break
            self._reap()
            self._supervisor.flush()
            poll.poll(None if parent_ended is not None else _LOOK_AGAIN_MS)
        self._end_everything()
        return None

    def _listen_for_exits(self) -> None:
        for end in (self._wake_in, self._wake_out):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)

    def _obey(self, words: Words) -> Callable[[], int] | None:
        if "child" in words:
            return self._give_birth(words, self._supervisor.received_fd())
        if words.get("kill") in self._children:  # it is not reaped yet, so the number is still this child's
            os.kill(words["kill"], signal.SIGKILL)
        if "directory" in words:
            self._directory = words["directory"]
        return None

    # -- birth -------------------------------------------------------------------------------------------------------

    def _give_birth(self, words: Words, channel: int) -> Callable[[], int] | None:
        name = words["child"]
        because = "" if words["fork"] else "asked for"
        if words["fork"]:
            warm_up(words["preload"])
            because = why_not_to_fork()
        try:
            if because:
                pid = _execute(name, channel, words["env"])
            else:
                gc.freeze()
                pid = os.fork()
        except OSError as error:  # no memory, no more processes allowed, no interpreter
            self._supervisor.send({"child": name, "because": str(error)})
            os.close(channel)
            return None
        if not pid:
            self._forget(channel)
            return lambda: _live(channel)
        os.close(channel)
        self._children.add(pid)
        self._supervisor.send({"child": name, "pid": pid, "because": because})
        return None

    def _forget(self, channel: int) -> None:
        """In the child: close what was the parent's, and every channel that waits for a sibling."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._supervisor.close()
        for fd in [int(fd) for fd in os.listdir(_DESCRIPTORS)]:
            if fd > 2 and fd != channel:
                with contextlib.suppress(OSError):  # the listing itself had one
                    os.close(fd)
        gc.enable()

    # -- death -------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_in, 512):
                pass
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children.discard(pid)
            self._supervisor.send({"ended": pid, "status": os.waitstatus_to_exitcode(status)})

    def _end_everything(self) -> None:
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + FAREWELL
        while self._children and (left := deadline - time.monotonic()) > 0:
            select.select([self._wake_in], [], [], left)
            self._reap()
        self._signal_all(signal.SIGKILL)
        if self._directory is not None:
            socket_directory.remove(self._directory)

    def _signal_all(self, number: int) -> None:
        for pid in self._children:
            os.kill(pid, number)  # they are not reaped, so the numbers are theirs


def warm_up(modules: Sequence[str]) -> None:
    """Import what the children need. What cannot be imported here will say so where it is used."""
    _learn_the_part()
    missing = [name for name in modules if name not in sys.modules]
    for name in missing:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if missing and why_not_to_fork():
        # OpenBLAS starts threads when numpy is loaded, but ends them in a handler of its own before a fork, to start
        # them anew when they are needed. So a fork for nothing leaves one thread, if all others are of that kind.
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)


@functools.cache
def _learn_the_part() -> None:
    """Import what every child needs, and run it. Fresh interpreters need neither, and need not wait for it."""
    importlib.import_module(_ENTRY)
    stand_ready()
    with contextlib.suppress(Exception):  # what it saves is worth nothing against a Flow that does not start
        importlib.import_module("zflow.processes.rehearsal").rehearse()


def why_not_to_fork() -> str:
    """The reason why a fork would be unsafe here; empty when it is safe."""
    try:
        tasks = len(os.listdir(_TASKS))
    except OSError:
        tasks = threading.active_count()
    return f"the warm parent has {tasks} threads" if tasks > 1 else ""


def _live(channel: int) -> int:
    code: int = importlib.import_module(_ENTRY).run(channel)
    return code


def _leave(code: int) -> NoReturn:
    """End as an interpreter does, but without taking itself apart: that would copy every page that is still shared."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it, it is closed, there is none
            stream.flush()
    os._exit(code)


def _execute(name: str, channel: int, env: dict[str, str]) -> int:
    """The same child from a fresh interpreter; its pid."""
    import subprocess  # 8 ms that a fork need not wait for

    child = subprocess.Popen(
        command(_ENTRY, "run", channel, name),
        pass_fds=(channel,),
        stdin=subprocess.DEVNULL,
        env=environment.with_changes(env),
    )
    child.returncode = 0  # it is reaped by us, not by Popen
    return child.pid
