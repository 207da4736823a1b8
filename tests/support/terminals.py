"""Real terminals (tmux): keys are pressed in them, and what they show is read."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import psutil

MISSING = "" if shutil.which("tmux") else "there is no tmux"
_WIDTH, _HEIGHT = 300, 50  # wide: what is too long for a line goes on in the next one, and is joined again


class Terminal:
    """A shell whose prompt is ``name$``, in a window of its own."""

    def __init__(self, tmux: tuple[str, ...], name: str) -> None:
        self._tmux = tmux
        self.prompt = f"{name}$"
        self._window = f"zflow:terminal-{name}"  # a mere number would be its place

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self._send("-l", line)
        self._send("Enter")

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._send("C-c")

    def shown(self) -> list[str]:
        """Everything that it shows and has shown, without blank lines and the blanks at the ends of lines."""
        told = self._run("capture-pane", "-p", "-J", "-S", "-", "-t", self._window)
        return [line.rstrip() for line in told.splitlines() if line.strip()]

    def _send(self, *keys: str) -> None:
        self._run("send-keys", "-t", self._window, *keys)

    def _run(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def terminals(names: str, *, sockets: Path, folder: Path, env: Mapping[str, str]) -> Iterator[list[Terminal]]:
    """A terminal for each letter of `names`, all of which begin in `folder`, with `env` and nothing of the user's own.

    sockets: where tmux has its own. All that runs in them must end with the block.
    """
    tmux = ("tmux", "-u", "-f", "/dev/null", "-S", str(sockets / "tmux"))
    subprocess.run([*tmux, "start-server", ";", "set-option", "-g", "history-limit", "50000"], check=True, timeout=10)
    try:
        for number, name in enumerate(names):
            begin = ["new-session", "-d", "-s", "zflow", "-x", str(_WIDTH), "-y", str(_HEIGHT)]
            begin = begin if number == 0 else ["new-window", "-d", "-t", "zflow:"]
            words = [f"{key}={value}" for key, value in {**env, "PS1": f"{name}$ "}.items()]
            shell = ["env", *words, "bash", "--norc", "--noprofile"]
            subprocess.run([*tmux, *begin, "-n", f"terminal-{name}", "-c", str(folder), *shell], check=True, timeout=10)
        yield [Terminal(tmux, name) for name in names]
    finally:
        subprocess.run([*tmux, "kill-server"], timeout=10)
        _end(str(sockets / "tmux"))


def _end(socket: str) -> None:
    """What was begun in the terminals has some seconds to end by itself, now that they are closed."""
    begun = [process for process in psutil.process_iter() if _is_of(process, socket)]
    _, staying = psutil.wait_procs(begun, timeout=10.0)
    told = [f"{process.pid} ({process.name()})" for process in staying]
    for process in staying:
        process.kill()
    assert not told, f"left by the terminals: {told}"


def _is_of(process: psutil.Process, socket: str) -> bool:
    try:
        return process.environ().get("TMUX", "").startswith(f"{socket},")
    except (psutil.Error, OSError):
        return False


def commands_in(folder: Path) -> Path:
    """A folder in which `zflow` and `python` are those of this test; it is made in `folder`."""
    made = folder / "bin"
    made.mkdir()
    for name, words in (("zflow", "-m zflow "), ("python", "")):
        (made / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
        (made / name).chmod(0o755)
    return made


_MASKS = (
    (r"@\d+\[", "@PID["),
    (r'"id": "[0-9a-f]{32}"', '"id": "ID"'),
    (r"\d+\.\d+/s", "N/s"),
    (r"\d+(\.\d+)?( ?)(ms|s|calls/s)(?!\w)", r"N\2\3"),
    (r"zflow/\d+\.\d+\.\d+", "zflow/VERSION"),
    (r"\s+", " "),
)


def masked(lines: list[str]) -> list[str]:
    """`lines` without what differs from one time to the next, without blank ones and markers below source code."""
    told = []
    for line in "\n".join(lines).replace("^C", "^C\n").splitlines():
        for pattern, word in _MASKS:
            line = re.sub(pattern, word, line)
        if "/s" in line:  # a look at what is changing
            line = re.sub(r"\b\d+\b", "N", line)
        if line.strip(" ^~"):
            told.append(line.strip())
        elif "^C" in line:
            told.append("^C")
    return [line for _, group in groupby(told, _is_ready) for line in sorted(group, key=_order)]


def _is_ready(line: str) -> bool:
    return line.endswith(" is ready")


def _order(line: str) -> str:
    """Processes that start together are ready in any order; all else is told in its own."""
    return line if _is_ready(line) else ""
