"""Which class a description stands for, and what it answers: found out in processes that end afterwards.

Only children import user code. A fresh interpreter forks one of them for each description, so that no class can hide,
break or end the finding of another. What modules print goes to stderr.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zflow.errors import ConfigError
from zflow.loading import ExecutorDescription
from zflow.processes import parcel
from zflow.processes.channel import Channel, Words
from zflow.processes.interpreter import command
from zflow.processes.nursery import exit_in_words

PATIENCE = 60.0  # seconds for the modules of one class


class Found(NamedTuple):
    """A class's name, its file and its endpoints, in order; or what is wrong with it."""

    name: str = ""
    file: str = ""
    endpoints: tuple[str, ...] = ()
    problem: str = ""


def inspect(descriptions: Sequence[ExecutorDescription], patience: float = PATIENCE) -> list[Found]:
    """What became of each of `descriptions`. patience: seconds for each of them."""
    if not descriptions:
        return []
    with _inspector() as channel:
        channel.send({"descriptions": [parcel.pack("it", item) for item in descriptions], "patience": patience})
        channel.flush(None)
        return [_heard(channel, patience) for _ in descriptions]


@contextlib.contextmanager
def _inspector() -> Iterator[Channel]:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        command(__name__, "main", theirs.fileno(), "zflow-inspection"),
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own, which is ended as a whole
    )
    theirs.close()
    channel = Channel(ours)
    try:
        yield channel
    finally:
        channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _heard(channel: Channel, patience: float) -> Found:
    """What comes next. The interpreter itself ends a module that takes too long; it gets a little longer for that."""
    until = time.monotonic() + patience + 30.0
    while time.monotonic() < until:
        channel.wait(until - time.monotonic())
        try:
            for words in channel.receive(1):
                return _found(words)
        except EOFError:
            break
    return Found(problem="the process that should have imported it is gone")


def _found(words: Words) -> Found:
    return Found(words["name"], words["file"], tuple(words["endpoints"]), words["problem"])


# -- the interpreter -------------------------------------------------------------------------------------------------


def main(descriptor: int) -> int:
    """main() of the fresh interpreter: hear the descriptions, fork for each, pass on what each has found."""
    os.dup2(2, 1)
    channel = Channel.of_descriptor(descriptor)
    channel.wait()
    [asked] = channel.receive(1) or _rest(channel)
    for packed in asked["descriptions"]:
        channel.send(_in_a_child(packed, asked["patience"]))
        channel.flush(None)
    return 0


def _rest(channel: Channel) -> list[Words]:
    """A message that came in pieces."""
    messages: list[Words] = []
    while not messages:
        channel.wait()
        messages = channel.receive(1)
    return messages


def _in_a_child(packed: bytes, patience: float) -> Words:
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        _live(packed, Channel(theirs))
    theirs.close()
    channel = Channel(ours)
    problem = f"importing it has taken longer than {patience:g} s; what does the module do?"
    try:
        if channel.wait(patience):
            return channel.receive(1)[0]
    except (EOFError, IndexError):
        problem = ""
    finally:
        channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    ended = exit_in_words(os.waitstatus_to_exitcode(status))
    return _words(problem=problem or f"the process that imported it {ended}")


def _live(packed: bytes, channel: Channel) -> None:
    try:
        channel.send(_look(parcel.unpack(packed)))
        channel.flush(None)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _look(description: ExecutorDescription) -> Words:
    try:
        cls, endpoints = description.foresee()
        file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
        return _words(cls.__name__, file, list(endpoints))
    except ConfigError as error:
        return _words(problem=f"{error}{_where(error)}")
    except SystemExit as error:
        return _words(problem=f"a module of it ends the process when it is imported: sys.exit({error.code!r})")
    except Exception as error:
        return _words(problem=f"{type(error).__name__}: {error}{_where(error)}")


def _words(name: str = "", file: str = "", endpoints: Sequence[str] = (), problem: str = "") -> Words:
    return {"name": name, "file": file, "endpoints": list(endpoints), "problem": problem}


def _where(error: BaseException) -> str:
    """The line of the user's that raised; empty where none did, or where the message tells it already."""
    cause = error.__cause__ if isinstance(error, ConfigError) else error
    if cause is None or isinstance(cause, SyntaxError):
        return ""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if not _is_machinery(frame.filename, ours)]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _is_machinery(file: str, ours: str) -> bool:
    return file.startswith((ours, "<frozen")) or f"{os.sep}importlib{os.sep}" in file
