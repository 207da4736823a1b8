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

    cause: ClassVar[str] = ""  # what it means, and what to do about it: docs/errors.md is made of these
    remedy: ClassVar[str] = ""
    code: ClassVar[int] = 0
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False


class ConfigError(ZflowError, ValueError):
    """A description (arguments of `add`, YAML, command line) that cannot be followed; names place and remedy.

    Where the place is known: `source` is the file (or what else was read), `line` the line in it, `path` the way to
    the value, such as ``executors[1].replicas``, and `problem` the message without all these.
    """

    cause = "Arguments, a YAML file or words on the command line ask for what there is not, or what cannot be."
    remedy = (
        "The message names the place (file, line, path) and the nearest known word. `zflow check FILE` tells all "
        "faults of a file at once and starts nothing."
    )
    exit_code = 2
    source: str = ""
    line: int = 0
    path: str = ""
    problem: str = ""


class TopologyError(ConfigError):
    """The graph of Executors has an unknown name, a duplicate, a cycle or a node that needs itself."""

    cause = "An Executor needs one that does not exist, or itself, or two have one name."
    remedy = "Correct `needs` or `name`. `zflow check FILE` draws the graph of a file that is right."


class PortInUse(ConfigError):
    """A port given by the user is bound by somebody else; names the port and, where the system tells, the holder."""

    cause = "Another process is bound to the port; the message names it where the system tells."
    remedy = "End that process, take another port, or leave the port out: then the system chooses one."


class InvalidDocument(ZflowError, ValueError):
    """A value that a Document's field cannot hold. `field` is its path, such as ``chunks[2].tensor``."""

    cause = "A field was given a value that it cannot hold; `field` is the path to it, as in `chunks[2].tensor`."
    remedy = "Convert the value first; whatever fits nowhere else goes into `tags` (plain values) or `blob` (bytes)."
    code = 1

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class RemoteError(ZflowError):
    """An outcome that may have travelled: `node` is the Executor's name in the Flow, `peer` the process that spoke.

    path: the replicas by which it came, from the outside in, through Flows within Flows; attempt: how often the last of
    them, or rather its head, had sent the request then. Both are empty where nobody told.
    """

    call_id: bytes = b""  # of the message at fault, where that much of it could be read
    path: tuple[str, ...] = ()
    attempt: int = 0

    def __init__(self, message: str = "", *, node: str = "", peer: str = "", maybe_executed: bool = False) -> None:
        super().__init__(message)
        self.node = node
        self.peer = peer
        self.maybe_executed = maybe_executed

    def __str__(self) -> str:
        """The message, and of where it failed what that does not say."""
        told = super().__str__()
        more = [f"by way of {' > '.join(self.path)}"] if len(self.path) > 1 else []
        more += [f"attempt {self.attempt}"] if self.attempt > 1 else []
        return f"{told} ({', '.join(more)})" if more else told


class InvalidRequest(RemoteError, ValueError):
    """A request that no peer can accept as it stands: malformed documents, parameters or endpoint."""

    cause = "Documents, parameters or endpoint of the request are malformed or too large."
    remedy = (
        "The message names what is wrong. Send fewer Documents at once (`request_size`), plain values in "
        "`parameters`, an endpoint such as `/search`."
    )
    code = 1


class CallbackError(ZflowError):
    """A callback (`on_done`, `on_error`, `on_always`) raised; its own exception is the `__cause__`."""

    cause = "`on_done`, `on_error` or `on_always` raised while it was given an answer."
    remedy = (
        "Look at `__cause__`, which is what your callback raised. With `continue_on_error=True` it is logged instead."
    )


class ExecutorError(RemoteError):
    """A method of an Executor raised.

    `name` and `args_repr` describe the remote exception, `description` is its ``repr``, `traceback` its text (empty
    where the peer keeps it to itself).
    """

    cause = "A method of an Executor raised; its process goes on and serves the next request."
    remedy = (
        "The traceback is that of the Executor, from your own code on; `node` and `peer` say whose. Where it is "
        "not enough: `zflow logs HOST:PORT NODE`."
    )
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

    cause = "A file could not be written; what was there before is as it was."
    remedy = (
        "`errno` and `filename` say why and which: free the disk, give rights to the folder, or give another "
        "`workspace`."
    )
    exit_code = 74  # EX_IOERR of sysexits.h

    def __init__(self, message: str, number: int | None = None, filename: str = "") -> None:
        super().__init__(message)
        self.errno = number
        self.filename = filename

    def __str__(self) -> str:
        return str(self.args[0])


class StartError(ZflowError):
    """A process of a plan could not start: `peer` is its name, `traceback` what it said last."""

    cause = (
        "A process did not become ready: its class could not be imported or made, or took longer than `timeout_ready`."
    )
    remedy = (
        "`traceback` is that of the process, `peer` its name. Correct the class, or give it more time by "
        "`timeout_ready` (ms)."
    )
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

    cause = "Bytes came that do not follow protocol/SPEC.md: another program, or a faulty peer."
    remedy = "See whether the port is that of a zflow peer (`zflow ping HOST:PORT`), and of which version."
    code = 3


class UnsupportedRequest(RemoteError):
    """The peer does not know a kind, a version or a must-understand key of the message."""

    cause = "The peer is of an older version and does not know something that the request must have."
    remedy = "Update the side that is older; `zflow ping HOST:PORT` tells its version."
    code = 4


class AuthError(RemoteError):
    """Who we are, or who the other side is, could not be established."""

    cause = "Keys are missing, wrong, or not on the list of the other side."
    remedy = (
        "The message says which. `zflow keygen` makes a pair; the other side lets it in by `zflow keys allow NAME "
        "KEY`; give `keys` and `server_key` here."
    )
    code = 5
    exit_code = 77  # EX_NOPERM of sysexits.h


class HubError(ZflowError):
    """What a registry gave is not what was asked for, or not fit to be unpacked; nothing of it was run or is left."""

    cause = "What came is damaged, is no Executor, is not what its digest says, or would write where it must not."
    remedy = "Pull again; if that does not help, ask who has pushed it to do so again, or name another version."
    exit_code = 65  # EX_DATAERR of sysexits.h


class Unavailable(RemoteError):
    """Nobody could answer. `maybe_executed` says whether the request may have run; if not, asking again is safe."""

    cause = "Nobody could answer: the peer is dead, frozen, cannot be reached or drains."
    remedy = (
        "With `maybe_executed` False nothing has run: ask again. With True ask again only what may run twice, or "
        "declare it so (`@requests(idempotent=True)`): then zflow does it. `zflow status HOST:PORT` tells what is "
        "there."
    )
    code = 6
    retryable = True
    exit_code = 69  # EX_UNAVAILABLE of sysexits.h


class ResourceExhausted(RemoteError):
    """A bounded queue is full. `retry_after` is in seconds."""

    cause = "What waits for the Executor is as much as may wait."
    remedy = (
        "Ask again after `retry_after` seconds, ask for less at once (`prefetch`), give it more `replicas`, or "
        "more room by `queue_bytes`."
    )
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

    cause = "The `timeout` of the request, or `timeout_send` of the Executor, is over; it may have run."
    remedy = (
        'Give more time, or make it quicker: `zflow top HOST:PORT` shows where time is spent. `on_timeout="skip"` '
        "goes on without the Executor."
    )
    code = 8
    exit_code = 75


class Cancelled(RemoteError):
    """The request was given up by its caller, or because a sibling branch failed."""

    cause = "The caller has given the request up, or a sibling branch of it has failed."
    remedy = "Nothing, where you have given it up yourself; else look at the error of the branch that failed."
    code = 9


class PoisonRequest(RemoteError):
    """A request ended the process of its Executor, and that of the replica which it was given next; it has run.

    It is not tried again. Look at what these processes said last, and at the documents of the request.
    """

    cause = "Two processes of the Executor died while they had this request, so that it is not tried again."
    remedy = (
        "Look at what they said last (`zflow logs HOST:PORT NODE`, the output of the Flow), and at the Documents "
        "of the request: memory, a crash in C code, `os._exit`."
    )
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
