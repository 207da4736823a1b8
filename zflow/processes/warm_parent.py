"""The process that every process of a Flow is born from: clean, warm, and dead no later than the Flow.

It has imported what workers need, but opened no context, made no socket of ZeroMQ and started no thread, so that it
can be forked; each child shares its memory. It alone is the children's parent: it reaps them, tells the supervisor how
they ended, and when the supervisor is gone, however it went, it ends them and removes their sockets.

What it is told: ``{"child": name, "fork": bool, "preload": [modules], "env": {...}, "family": [node, edition, env]}``
with the child's end of its channel, ``{"kill": pid}``, ``{"give up": name}``, ``{"renew": node}``,
``{"directory": path}``. What it tells: ``{"child": name, "pid": pid, "because": why it was not forked}``, the same
without a pid when there is no child, and ``{"ended": pid, "status": exit status}``. A child that has a family is born
of a process of its own: see families.py.
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
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from zflow.config import environment
from zflow.processes import socket_directory
from zflow.processes.channel import Channel, Words, parent_descriptor
from zflow.processes.families import Families, FamilyName
from zflow.processes.interpreter import command
from zflow.processes.logs import stand_ready

FAREWELL = 0.8  # seconds between SIGTERM and SIGKILL for the children of a dead supervisor
_FAMILIES_FAREWELL = 0.4  # seconds more for those who have children of their own
_TASKS = "/proc/self/task"
_DESCRIPTORS = "/dev/fd"
_ENTRY = "zflow.processes.entry"
_FAMILY = "zflow.processes.family"
_FRONT_DOOR = ("zflow.client", "zflow.deployment", "zflow.flow")  # what modules of users import beside Executor
_LOOK_AGAIN_MS = 500


def main(control: int) -> NoReturn:
    """Serve the supervisor at the descriptor `control`. A forked child leaves through here, too, into its own life."""
    settle_down()
    live = WarmParent(Channel.of_descriptor(control)).run()
    if live is None:
        os._exit(0)  # nothing here needs tidying, and the supervisor waits for us
    leave(live())


def settle_down() -> None:
    """What befits a process that bears others."""
    gc.disable()  # nothing here is garbage, and a collection would touch pages that children could have shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # the thread that started us may have blocked some


class WarmParent:
    """The loop: what the supervisor says, and which children ended."""

    def __init__(self, supervisor: Channel) -> None:
        self._supervisor = supervisor
        self._children: set[int] = set()
        self._families = Families(supervisor.send)
        self._directory: str | None = None
        self._wake_in, self._wake_out = os.pipe()
        self._parent_ended = parent_descriptor()

    def run(self) -> Callable[[], int] | None:
        """Serve until the supervisor is gone. Returns in a forked child what it is to do, in the parent None."""
        self._listen_for_exits()
        parent = os.getppid()
        while os.getppid() == parent:
            try:
                for words in self._supervisor.receive():
                    live = self._obey(words)
                    if live is not None:
                        return live
            except EOFError:
                break
            self._families.hear()
            self._reap()
            self._supervisor.flush()
            self._sleep()
        self._end_everything()
        return None

    def _sleep(self) -> None:
        """Until there is something to do."""
        poll = select.poll()
        for source in (self._supervisor, self._wake_in, self._parent_ended, *self._families.channels()):
            if source is not None:
                poll.register(source, select.POLLIN)
        poll.poll(None if self._parent_ended is not None else _LOOK_AGAIN_MS)

    def _listen_for_exits(self) -> None:
        for end in (self._wake_in, self._wake_out):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)

    def _obey(self, words: Words) -> Callable[[], int] | None:
        if "child" in words:
            descriptor = self._supervisor.received_fd()
            if words["family"]:
                return self._ask_family(words, descriptor)
            return self._give_birth(words, Channel.of_descriptor(descriptor))
        if words.get("kill") in self._children:  # it is not reaped yet, so the number is still this child's
            os.kill(words["kill"], signal.SIGKILL)
        elif "kill" in words:
            self._families.kill(words["kill"])
        if "give up" in words:
            self._families.give_up(words["give up"])
        if "renew" in words:
            self._families.supersede(words["renew"])
        if "directory" in words:
            self._directory = words["directory"]
        return None

    # -- birth -------------------------------------------------------------------------------------------------------

    def _give_birth(self, asked: Words, channel: Channel) -> Callable[[], int] | None:
        name = asked["child"]
        because = "" if asked["fork"] else "asked for"
        if asked["fork"]:
            warm_up(asked["preload"])
            because = why_not_to_fork()
        if not because:
            return self._fork(name, channel, lambda: _live(channel))
        try:
            pid = _execute(name, channel.fileno(), asked["env"])
        except OSError as error:  # no more processes allowed, no interpreter
            self._supervisor.send({"child": name, "because": str(error)})
        else:
            self._born(name, pid, because)
        channel.close()
        return None

    def _fork(self, name: str, channel: Channel, live: Callable[[], int]) -> Callable[[], int] | None:
        """Returns `live` in the child."""
        gc.freeze()
        try:
            pid = os.fork()
        except OSError as error:  # no memory, no more processes allowed
            self._supervisor.send({"child": name, "because": str(error)})
            channel.close()
            return None
        if not pid:
            self._forget(channel.fileno())
            return live
        self._born(name, pid, "")
        channel.close()
        return None

    def _born(self, name: str, pid: int, because: str) -> None:
        self._children.add(pid)
        self._supervisor.send({"child": name, "pid": pid, "because": because})

    def _ask_family(self, asked: Words, descriptor: int) -> Callable[[], int] | None:
        """Have a child born of its family; of a new one if there is none yet. Returns in that one what it is to do."""
        node, edition, env = asked["family"]
        name = FamilyName(node, edition)
        family = self._families.find(name)
        if family is None:
            ours, theirs = socket.socketpair()
            try:
                pid = self._bear_parent(asked, theirs.fileno(), env)
            except OSError as error:  # as for any other child
                self._supervisor.send({"child": asked["child"], "because": str(error)})
                for end in (ours, theirs):
                    end.close()
                os.close(descriptor)
                return None
            if not pid:
                ours.close()
                control = theirs.detach()
                self._forget(control)
                return lambda: _lead_family(control)
            theirs.close()
            family = self._families.found(name, pid, Channel(ours))
        self._families.ask(family, asked, descriptor)
        return None

    def _bear_parent(self, asked: Words, control: int, env: dict[str, str]) -> int:
        """The pid of a family's parent, 0 in it. It is a fresh interpreter where variables are read at its birth."""
        if asked["fork"]:
            warm_up(asked["preload"])
        if not asked["fork"] or why_not_to_fork():
            return _execute(f"{asked['family'][0]}/preload", control, env, module=_FAMILY, function="main")
        gc.freeze()
        return os.fork()

    def _forget(self, kept: int) -> None:
        """In the child: close what was the parent's, and every channel that waits for a sibling, but for `kept`."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._close_own(kept)
        gc.enable()

    def _close_own(self, kept: int) -> None:
        """All but the standard ones: nothing has been opened here for children."""
        for channel in (self._supervisor, *self._families.channels()):
            channel.close()  # an object that is forgotten later would close its number again, whoever has it then
        for fd in [int(fd) for fd in os.listdir(_DESCRIPTORS)]:
            if fd > 2 and fd != kept:
                with contextlib.suppress(OSError):  # the listing itself had one
                    os.close(fd)

    # -- death -------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_in, 512):
                pass
        while self._children or self._families.pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._children.discard(pid)
            code = os.waitstatus_to_exitcode(status)
            if not self._families.ended(pid, code):
                self._supervisor.send({"ended": pid, "status": code})

    def _end_everything(self) -> None:
        self._families.close()
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + FAREWELL + (_FAMILIES_FAREWELL if self._families.pids else 0.0)
        while (self._children or self._families.pids) and (left := deadline - time.monotonic()) > 0:
            select.select([self._wake_in], [], [], left)
            self._reap()
        self._children.update(self._families.pids)
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
    if missing:
        end_idle_threads()


def end_idle_threads() -> None:
    """OpenBLAS starts threads when numpy is loaded, but ends them in a handler of its own before a fork, to start them
    anew when they are needed. So a fork for nothing leaves one thread, if all others are of that kind."""
    if why_not_to_fork():
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)


@functools.cache
def _learn_the_part() -> None:
    """Import what every child needs, and run it. Fresh interpreters need neither, and need not wait for it."""
    importlib.import_module(_ENTRY)
    for name in _FRONT_DOOR:
        importlib.import_module(name)
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


def _live(channel: Channel) -> int:
    code: int = importlib.import_module(_ENTRY).live(channel)
    return code


def _lead_family(control: int) -> int:
    code: int = importlib.import_module(_FAMILY).live(control)
    return code


def leave(code: int, *, wait: bool = True) -> NoReturn:
    """End as an interpreter does, but without taking itself apart: that would copy every page that is still shared.

    wait: for the threads that are no daemons.
    """
    if wait:
        threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it, it is closed, there is none
            stream.flush()
    os._exit(code)


def _execute(name: str, channel: int, env: dict[str, str], module: str = _ENTRY, function: str = "run") -> int:
    """The same child from a fresh interpreter; its pid."""
    import subprocess  # 8 ms that a fork need not wait for

    child = subprocess.Popen(
        command(module, function, channel, name),
        pass_fds=(channel,),
        stdin=subprocess.DEVNULL,
        env=environment.with_changes(env),
    )
    child.returncode = 0  # it is reaped by us, not by Popen
    return child.pid
