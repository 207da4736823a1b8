"""The supervisor's end of the warm parent: asks it for children, hears of their births and deaths."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence

from zflow.drivers.watchdog import PATIENCE
from zflow.errors import StartError
from zflow.processes.channel import Channel, Words
from zflow.processes.interpreter import command

_FAREWELL = 2.0


class Nursery:
    """A running warm parent. directory: what it removes should we be killed. Raises StartError when it cannot start."""

    def __init__(self, directory: str) -> None:
        ours, theirs = socket.socketpair()
        try:
            # A session of its own: what a terminal sends to our group (Ctrl-C) is for us to answer, with a drain.
            self._process = subprocess.Popen(
                command("zflow.processes.warm_parent", "main", theirs.fileno(), "zflow-warm-parent"),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise StartError(f"no process can be started here: {error}", peer="warm parent") from error
        finally:
            theirs.close()
        self.channel = Channel(ours)
        self.channel.send({"directory": directory})

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask_for(
        self,
        name: str,
        *,
        fork: bool,
        preload: Sequence[str],
        env: Mapping[str, str],
        family: tuple[str, str, Mapping[str, str]] | None = None,
    ) -> Channel:
        """Ask for the process `name`. Returns our end of its channel; its birth is told by our own.

        preload: modules to import before the fork. env: for a fresh interpreter, what is added to the environment.
        family: to be born among those that share what their Executor's `preload` has loaded: their node, edition, and
        environment, should they need a fresh interpreter to descend from.
        """
        ours, theirs = socket.socketpair()
        asked: Words = {"child": name, "fork": fork, "preload": list(preload), "env": dict(env), "family": family}
        self.channel.send(asked, [theirs.detach()])
        return Channel(ours)

    def renew(self, node: str) -> None:
        """What is asked for from now on shall not share what has been loaded for the node before."""
        self.channel.send({"renew": node})

    def give_up(self, name: str) -> None:
        """Wait no more for `name`, which is not born because `preload` takes so long: end that, and all who wait."""
        self.channel.send({"give up": name})

    def kill(self, pid: int) -> None:
        """Kill a child, unless it has ended meanwhile."""
        self.channel.send({"kill": pid})

    def close(self) -> str:
        """End the warm parent, and with it whatever children it still has. Returns how it ended."""
        self.channel.close()
        try:
            return exit_in_words(self._process.wait(_FAREWELL))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return "did not answer"


def end_orphan(pid: int) -> None:
    """Kill a child whose warm parent is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def exit_in_words(code: int) -> str:
    """An exit status (negative: a signal) in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    if code == -signal.SIGALRM:  # see drivers/watchdog.py
        return f"was ended, because a method went on {PATIENCE:g} s after the time of its request was over"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
