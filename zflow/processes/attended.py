"""The worker in a container: it says who it is to the attendant outside, hears what it shall serve, and lives as any
supervised child does.

``{"protocol": version, "software": name}`` is answered by ``{"name", "node", "socket", "arguments", "runtime_args",
"idempotent", "max_concurrency", "level", "voice", "oom_score_adj"}``; from then on it is the conversation of entry.py.
The attendant may be of another version than this, so that plain words travel here and no plan.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from zflow.config.log_config import LogConfig
from zflow.config.plan import WorkerPlan
from zflow.errors import StartError
from zflow.loading import describe
from zflow.processes.channel import Channel, Words
from zflow.processes.entry import first_words, live_as
from zflow.version import __version__
from zflow.wire.header import VERSION


def serve_attended(path: str, uses: Any) -> int:
    """Serve the Executor that `uses` names until the attendant at the socket `path` says stop, or is gone. Returns an
    exit code. Raises StartError where nobody is there."""
    end = socket.socket(socket.AF_UNIX)
    try:
        end.connect(path)
    except OSError as error:
        end.close()
        raise StartError(f"nobody attends to this process at {path}: {error.strerror}") from None
    channel = Channel(end)
    channel.send({"protocol": VERSION, "software": f"zflow {__version__}"})
    try:
        told = first_words(channel)
    except EOFError:
        raise StartError("the attendant outside of this container does not want it") from None
    bind = f"ipc://{os.path.dirname(os.path.abspath(path))}/{told['socket']}"
    return live_as(_as_of_a_supervisor(told, bind), channel, lambda: _plan(told, uses))


def _as_of_a_supervisor(told: Words, bind: str) -> Words:
    """The first words of a child that is already where it shall live."""
    nothing: Words = {"env": {}, "own_env": {}, "cores": [], "addresses": {}, "replicas": {}, "may_join": False}
    here: Words = {"bind": bind, "note": "", "log_folder": "", "is_shared": True}
    here |= {"sys_path": list(sys.path), "argv": list(sys.argv)}
    quiet, quiet_error, config = told["voice"]
    known = {name: value for name, value in config.items() if name in LogConfig._fields}
    return {**told, **nothing, **here, "voice": [quiet, quiet_error, known]}


def _plan(told: Words, uses: Any) -> WorkerPlan:
    return WorkerPlan(
        name=told["name"],
        node=told["node"],
        description=describe(uses, **told["arguments"]),
        runtime_args=told["runtime_args"],
        idempotent=told["idempotent"],
        max_concurrency=told["max_concurrency"],
    )
