"""A program that runs for its answer: words and input, a deadline, and the end of all that it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zflow.config import environment
from zflow.errors import ConfigError, DeadlineExceeded


class Answer(NamedTuple):
    """code: with which it ended. out and err: what it printed; empty where that went to the terminal."""

    code: int
    out: str
    err: str


def run(
    words: Sequence[str],
    *,
    patience: float,
    given: str = "",
    changes: Mapping[str, str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    show: bool = False,
) -> Answer:
    """What the program ``words[0]`` says to the other words. No shell is between.

    patience: in seconds. given: its input. changes: of the environment. folder: where it starts. show: what it prints
    goes to our stderr, for people to see. Raises ConfigError for a program that is not there, DeadlineExceeded for one
    that takes too long.
    """
    program = shutil.which(words[0])
    if program is None:
        raise ConfigError(f"there is no program {words[0]!r:.100}; install it, or put it on the PATH")
    process = subprocess.Popen(
        [program, *words[1:]],
        stdin=subprocess.PIPE,
        stdout=2 if show else subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        cwd=folder,
        env=environment.with_changes(changes or {}),
        start_new_session=True,  # a group of its own, which is ended as a whole
    )
    try:
        out, err = process.communicate(given.encode(), timeout=patience)
    except subprocess.TimeoutExpired:
        raise DeadlineExceeded(f"{words[0]} took longer than {patience:g} s and was ended") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Answer(process.returncode, _text(out), _text(err))


def _text(told: bytes | None) -> str:
    return (told or b"").decode("utf-8", "replace")
