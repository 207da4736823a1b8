"""Every exception of zflow: whose fault it is, whether asking again can help, its wire code and its exit code.

::

    ZflowError
    |-- your input -------------------------------------------------------------
    |   |-- ConfigError           a Flow, an Executor or a file is described wrongly
    |   |   |-- TopologyError     ... the graph of Executors: unknown name, cycle, duplicate
    |   |   `-- PortInUse         ... somebody else holds the port
    |   |-- InvalidDocument       a Document holds a value that its field cannot hold
    |   |-- InvalidRequest        a request that no peer can accept as it stands
    |   `-- CallbackError         one of your callbacks raised
    |-- your Executor ----------------------------------------------------------
    |   |-- ExecutorError         a method raised; carries the remote traceback
    |   |-- WorkspaceError        a file could not be saved: the disk is full, read-only or broken
    |   |-- PoisonRequest         a request that ended the process which had it, twice
    |   `-- StartError            a process could not start; carries its traceback
    |-- the other side ---------------------------------------------------------
    |   |-- ProtocolError         bytes that do not follow protocol/SPEC.md
    |   |-- UnsupportedRequest    a peer that lacks what the request must have
    |   |-- AuthError             a peer that does not let us in, or that we may not trust
    |   `-- HubError              what a registry gave is no Executor, damaged, tampered with or hostile
    `-- nobody home: asking again can help --------------------------------------
        |-- Unavailable           dead, frozen, unreachable or draining peer
        |-- ResourceExhausted     a bounded queue is full; `retry_after` says when to ask again
        |-- DeadlineExceeded      the time given to the request is over
        `-- Cancelled             the caller, or a failing sibling branch, gave the request up

The wire codes are part of the protocol (protocol/messages.yaml); a test compares both.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class ZflowError(Exception):
    """What every zflow error has: a code on the wire and an exit code for the command line."""

    code: ClassVar[int] = 0
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False


class ConfigError(ZflowError, ValueError):
    """A description (arguments of `add`, YAML, command line) that cannot be followed; names place and remedy.

    Where the place is known: `source` is the file (or what else was read), `line` the line in it, `path` the way to
    the value, such as ``executors[1].replicas``, and `problem` the message without all these.
    """

    exit_code = 2
    source: str = ""
    line: int = 0
    path: str = ""
    problem: str = ""


class TopologyError(ConfigError):
    """The graph of Executors has an unknown name, a duplicate, a cycle or a node that needs itself."""


class PortInUse(ConfigError):
    """A port given by the user is bound by somebody else; names the port and, where the system tells, the holder."""


class InvalidDocument(ZflowError, ValueError):
    """A value that a Document's field cannot hold. `field` is its path, such as ``chunks[2].tensor``."""

    code = 1

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class RemoteError(ZflowError):
    """An outcome that may have travelled: `node` is the Executor's name in the Flow, `peer` the process that spoke."""

    call_id: bytes = b""  # of the message at fault, where that much of it could be read

    def __init__(self, message: str = "", *, node: str = "", peer: str = "", maybe_executed: bool = False) -> None:
        super().__init__(message)
        self.node = node
        self.peer = peer
        self.maybe_executed = maybe_executed


class InvalidRequest(RemoteError, ValueError):
    """A request that no peer can accept as it stands: malformed documents, parameters or endpoint."""

    code = 1


class CallbackError(ZflowError):
    """A callback (`on_done`, `on_error`, `on_always`) raised; its own exception is the `__cause__`."""


class ExecutorError(RemoteError):
    """A method of an Executor raised.

    `name` and `args_repr` describe the remote exception, `description` is its ``repr``, `traceback` its text (empty
    where the peer keeps it to itself).
    """

    code = 2

    def __init__(
        self,
        message: str = "",
        *,
        node: str = "",
        peer: str = "",
        maybe_executed: bool = True,
        name: str = "",
        description: str = "",
        traceback: str = "",
    ) -> None:
        super().__init__(message, node=node, peer=peer, maybe_executed=maybe_executed)
        self.name = name
        self.description = description or message
        self.traceback = traceback

    def __str__(self) -> str:
        told = super().__str__()
        return f"{told}\n\nThe Executor's own traceback:\n{self.traceback.rstrip()}" if self.traceback else told


class WorkspaceError(ZflowError, OSError):
    """A file could not be saved, and what was there before is as it was. `errno` and `filename` say why and which.

    A caller hears of it as of every exception of an Executor: by an ExecutorError with this name and this message.
    """

    exit_code = 74  # EX_IOERR of sysexits.h

    def __init__(self, message: str, number: int | None = None, filename: str = "") -> None:
        super().__init__(message)
        self.errno = number
        self.filename = filename

    def __str__(self) -> str:
        return str(self.args[0])


class StartError(ZflowError):
    """A process of a plan could not start: `peer` is its name, `traceback` what it said last."""

    exit_code = 3

    def __init__(self, message: str, *, peer: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.peer = peer
        self.traceback = traceback

    def __str__(self) -> str:
        told = super().__str__()
        return f"{told}\n\nIts own traceback:\n{self.traceback.rstrip()}" if self.traceback else told


class ProtocolError(RemoteError):
    """Foreign bytes that do not follow the protocol."""

    code = 3


class UnsupportedRequest(RemoteError):
    """The peer does not know a kind, a version or a must-understand key of the message."""

    code = 4


class AuthError(RemoteError):
    """Who we are, or who the other side is, could not be established."""

    code = 5
    exit_code = 77  # EX_NOPERM of sysexits.h


class HubError(ZflowError):
    """What a registry gave is not what was asked for, or not fit to be unpacked; nothing of it was run or is left."""

    exit_code = 65  # EX_DATAERR of sysexits.h


class Unavailable(RemoteError):
    """Nobody could answer. `maybe_executed` says whether the request may have run; if not, asking again is safe."""

    code = 6
    retryable = True
    exit_code = 69  # EX_UNAVAILABLE of sysexits.h


class ResourceExhausted(RemoteError):
    """A bounded queue is full. `retry_after` is in seconds."""

    code = 7
    retryable = True
    exit_code = 75  # EX_TEMPFAIL of sysexits.h

    def __init__(
        self,
        message: str = "",
        *,
        node: str = "",
        peer: str = "",
        maybe_executed: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(message, node=node, peer=peer, maybe_executed=maybe_executed)
        self.retry_after = retry_after


class DeadlineExceeded(RemoteError, TimeoutError):
    """The time given to a request is over; it may have run."""

    code = 8
    exit_code = 75


class Cancelled(RemoteError):
    """The request was given up by its caller, or because a sibling branch failed."""

    code = 9


class PoisonRequest(RemoteError):
    """A request ended the process of its Executor, and that of the replica which it was given next; it has run.

    It is not tried again. Look at what these processes said last, and at the documents of the request.
    """

    code = 10


BY_CODE: dict[int, type[RemoteError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest,
        ExecutorError,
        ProtocolError,
        UnsupportedRequest,
        AuthError,
        Unavailable,
        ResourceExhausted,
        DeadlineExceeded,
        Cancelled,
        PoisonRequest,
    )
}


def description_of(error: BaseException) -> str:
    """Its ``repr``, which is the user's code as well, and may raise."""
    try:
        return repr(error)
    except Exception:
        return f"{type(error).__name__} (which cannot be shown: its repr raises)"


def nearest(word: str, known: Iterable[str]) -> str:
    """What to add to "unknown word": the nearest known one, or all of them when none is near."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(words)}" if words else "none is known here"
