"""The process that attends to a container: has it run, passes on what is said, tells what it prints, sees to its end.

To the supervisor it is a child like any other. What serves is the worker in the container, which binds a socket in a
folder that both see (the box), so that requests reach it without a detour; the attendant has no part in them. They talk
by another socket in the box: the worker says who it is, hears what it shall serve, and says ``ready`` or ``failed`` as
every child does. When the attendant is gone, however that came, the worker hears that and ends.

Nothing that a container says is believed: its messages are small, few of its words are known, and it names no paths.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO

from zflow.config import environment
from zflow.config.containers import WORKSPACE, ContainerPlan
from zflow.config.log_config import LogConfig
from zflow.config.plan import WorkerPlan
from zflow.errors import StartError
from zflow.processes.channel import Channel, Words
from zflow.processes.engine import (
    ATTENDANT,
    SOCKET,
    explain,
    run_environment,
    run_words,
    why_not_here,
)
from zflow.processes.guard import Guard, remove_container
from zflow.processes.lifeline import TERMINATED, Lifeline
from zflow.processes.logs import Log, written_as
from zflow.processes.placement import common_env
from zflow.processes.socket_directory import box_of
from zflow.version import __version__
from zflow.wire.header import VERSION

_MOST = 1 << 20  # bytes of a message from a container
_LINE = 1 << 16  # bytes after which a line is told that has not ended
_LAST_LINES = 20
_LONGEST_TOLD = 500  # letters of each of them
_SOONER = 0.3  # seconds that the container ends before we must
_LEAVING = 5.0  # seconds for a container to end whose worker is gone
_HEARD_WITHIN = 2.0  # seconds for a supervisor to take what it is told
_LAST_MOMENT = 1.0  # seconds for a container that was asked to end and is late


def attend(plan: WorkerPlan, words: Words, supervisor: Channel, lifeline: Lifeline, log: Log) -> int:
    """The life of the process. words: the first ones of `supervisor`. Returns an exit code, unless it ends as the
    container did. Raises StartError for one that was never ready."""
    attendant = Attendant(plan, words, supervisor, lifeline, log)
    lifeline.keep(attendant.end)
    lifeline.tell_where = attendant.tell_where
    try:
        code = attendant.run()
    except BaseException:
        lifeline.end()  # before anybody hears why: who is told to stop then is interrupted wherever it is
        raise
    lifeline.end()
    lifeline.leave()
    end_alike(code)
    return code


class Attendant:
    """The attending to one container. words: the first ones of the supervisor."""

    def __init__(self, plan: WorkerPlan, words: Words, supervisor: Channel, lifeline: Lifeline, log: Log) -> None:
        assert plan.container is not None
        self._plan = plan
        self._asked: ContainerPlan = plan.container
        self._words = words
        self._supervisor = supervisor
        self._lifeline = lifeline
        self._log = log
        self._box = box_of(words["bind"])
        directory, stem = os.path.split(self._box)
        self._name = f"{os.path.basename(directory)}-{stem.rpartition('.')[0]}"
        self._container: Channel | None = None
        self._docker: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._has_told = False
        self._is_ready = False
        self._refusal = ""
        self._gone_at: float | None = None

    def run(self) -> int:
        """Attend until the container is gone. Returns its exit code. Raises StartError if it was never ready."""
        if because := why_not_here():
            raise StartError(because)
        with self._listening() as listener:
            self._start()
            self._attend(listener)
        assert self._docker is not None
        code = self._docker.wait()
        if self._refusal:
            raise StartError(self._refusal)
        if not self._has_told:
            raise StartError(explain(self._asked.image, code, self._said))
        return code

    def end(self) -> None:
        """See to it that the container is gone."""
        docker = self._docker
        if docker is not None and docker.poll() is None:
            try:
                docker.wait(_LAST_MOMENT if self._is_ready else 0.0)
            except subprocess.TimeoutExpired:
                remove_container(self._name)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    docker.wait(_LAST_MOMENT)
        if self._guard is not None:
            self._guard.dismiss()

    def tell_where(self) -> None:
        """What keeps it: the worker knows, if there is one."""
        if self._container is not None:
            self._container.send({"where": True})
        else:
            told = f"image {self._asked.image}: no worker in its container has reported yet. Its last lines:\n"
            self._supervisor.send({"where": told + "\n".join(self._said)})

    # -- beginning -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        os.mkdir(self._box)
        os.chmod(self._box, 0o777)  # whoever the container is; on this side only we can enter the directory around it
        with socket.socket(socket.AF_UNIX) as listener:
            path = f"{self._box}/{ATTENDANT}"
            listener.bind(path)
            os.chmod(path, 0o666)
            listener.listen(1)
            yield listener

    def _start(self) -> None:
        self._prepare_workspace()
        env = {**common_env(self._plan), **self._words["own_env"]}
        words = run_words(self._asked, self._name, self._plan.name, self._box, env, self._words["cores"])
        try:
            self._guard = Guard(self._name)
            self._docker = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment.with_changes(run_environment(env)),
                start_new_session=True,  # Ctrl-C is for the Flow to answer
            )
        except FileNotFoundError:
            told = "there is no program `docker` here: install Docker Engine, or give code in uses"
            raise StartError(f"image {self._asked.image}: {told}") from None

    def _prepare_workspace(self) -> None:
        """Make it where it is not there, for the user in the container; say so where that one cannot write to it."""
        folder, user = self._asked.workspace, str(self._asked.options["user"])
        if not folder:
            return
        uid, _, gid = user.partition(":")
        is_known = uid.isdecimal() and gid.isdecimal()
        if not os.path.isdir(folder):
            os.makedirs(folder)
            if is_known and not os.getuid():
                os.chown(folder, int(uid), int(gid))
        elif is_known and not _may_write(os.stat(folder), int(uid), int(gid)):
            told = "workspace %s: who is %s in the container may not write there: chown it, or give docker_kwargs user"
            self._log.warning(told, folder, user)

    # -- attending -----------------------------------------------------------------------------------------------------

    def _attend(self, listener: socket.socket) -> None:
        assert self._docker is not None and self._docker.stdout is not None and self._docker.stderr is not None
        name, config = self._plan.name, self._plan.voice.config
        written = written_as(config, name, self._words["log_folder"])
        out = _Teller(self._docker.stdout, name, _nobody, self._tell_line, _to_stdout)
        err = _Teller(self._docker.stderr, name, _own_lines(name, config), self._tell_line, written)
        tellers = {self._docker.stdout.fileno(): out, self._docker.stderr.fileno(): err}
        poll = select.poll()
        for source in (listener.fileno(), *tellers):
            poll.register(source, select.POLLIN)
        while tellers:
            ready = poll.poll(None if self._gone_at is None else _LAST_MOMENT * 1000)
            if self._gone_at is not None and time.monotonic() > self._gone_at:
                self._gone_at = None
                remove_container(self._name)
            for source, _ in ready:
                if source in tellers:
                    if not tellers[source].read():
                        poll.unregister(source)
                        del tellers[source]
                elif source == listener.fileno():
                    self._container = Channel(listener.accept()[0], _MOST)
                    poll.unregister(listener)
                    poll.register(self._container, select.POLLIN)
                elif not self._hear():
                    poll.unregister(source)
                    self._gone_at = time.monotonic() + _LEAVING

    def _tell_line(self, line: str) -> None:
        if not self._is_ready:
            self._said.append(line[:_LONGEST_TOLD])

    def _hear(self) -> bool:
        """Hear the worker. False when there will be no more of it."""
        assert self._container is not None
        try:
            for words in self._container.receive():
                self._obey(self._container, words)
        except EOFError:
            return False
        return True

    def _obey(self, container: Channel, words: Words) -> None:
        if "protocol" in words and not self._refusal:
            self._meet(container, words)
        elif "ready" in words and not self._has_told:
            self._became_ready(container)
        elif "failed" in words and not self._has_told:
            self._has_told = True
            self._supervisor.send({key: str(words.get(key, "")) for key in ("failed", "message", "traceback")})
            self._supervisor.flush(_HEARD_WITHIN)
        elif "where" in words:
            self._supervisor.send({"where": str(words["where"])})

    def _meet(self, container: Channel, words: Words) -> None:
        if words["protocol"] != VERSION:
            self._refusal = (
                f"image {self._asked.image}: its zflow ({words.get('software')!s:.80}) speaks version "
                f"{words['protocol']!r:.20} of the protocol, and this one ({__version__}) version {VERSION}: build it "
                "anew from an image of this version"
            )
            remove_container(self._name)
            return
        quiet, quiet_error, config = self._words["voice"]
        container.send(
            {
                "name": self._plan.name,
                "node": self._plan.node,
                "socket": SOCKET,
                "arguments": dict(self._asked.arguments),
                "runtime_args": {**self._plan.runtime_args, "workspace": WORKSPACE if self._asked.workspace else ""},
                "idempotent": self._plan.idempotent,
                "max_concurrency": self._plan.max_concurrency,
                "oom_score_adj": self._words["oom_score_adj"],
                "level": self._words["level"],
                "voice": [quiet, quiet_error, {**config, "file": "", "stderr": True}],  # its lines are told out here
            }
        )

    def _became_ready(self, container: Channel) -> None:
        os.chmod(self._box, 0o755)  # nothing else is to be made in it
        if not _is_socket(f"{self._box}/{SOCKET}"):
            self._refusal = f"image {self._asked.image}: it says that it is ready, and has bound no socket"
            remove_container(self._name)
            return
        self._has_told = self._is_ready = True
        self._lifeline.serve(lambda grace: container.send({"stop": max(grace - _SOONER, 0.0)}))
        self._supervisor.send({"ready": f"ipc://{self._box}/{SOCKET}", "pid": os.getpid()})


def _may_write(folder: os.stat_result, uid: int, gid: int) -> bool:
    owned = stat.S_IWUSR if folder.st_uid == uid else stat.S_IWGRP if folder.st_gid == gid else stat.S_IWOTH
    return uid == 0 or bool(folder.st_mode & owned)


def _is_socket(path: str) -> bool:
    """Itself, and not a link by which a container would send us to a socket of somebody else."""
    with contextlib.suppress(OSError):
        return stat.S_ISSOCK(os.lstat(path).st_mode)
    return False


class _Teller:
    """Tells the lines of one stream of a container, under the name of its node where they are not log lines, which have
    it already. is_log_line: knows these."""

    def __init__(
        self,
        stream: IO[bytes],
        name: str,
        is_log_line: Callable[[str], bool],
        hear: Callable[[str], None],
        write: Callable[[str], None],
    ) -> None:
        self._stream = stream
        self._name = name
        self._is_log_line = is_log_line
        self._hear = hear
        self._write = write
        self._rest = b""

    def read(self) -> bool:
        """Tell what has come. False when there will be no more."""
        data = os.read(self._stream.fileno(), _LINE)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > _LINE):
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._tell(line.decode(errors="replace").rstrip("\r"))
        return bool(data)

    def _tell(self, line: str) -> None:
        self._hear(line)
        self._write(line if self._is_log_line(line) else f"{self._name}: {line}")


def _nobody(line: str) -> bool:
    return False


def _own_lines(name: str, config: LogConfig) -> Callable[[str], bool]:
    """Which lines the worker's own log has made. Those after a user's pattern cannot be told apart."""
    begins = {"plain": f"{name}@", "json": "{"}.get(config.form, "")
    return lambda line: line.startswith(begins)


def _to_stdout(line: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it, it is closed, there is none
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def end_alike(code: int) -> None:
    """End as the container did. `docker` tells a signal by a code above 128; the supervisor knows signals better."""
    number = code - 128
    if code == TERMINATED or number not in set(signal.Signals):
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it was not this process that crashed
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
