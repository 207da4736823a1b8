"""Executors as the roles see them: functions from a REQUEST to its outcome, with payloads that tell their history.

A document part holds readable bytes here instead of packed documents, since no role opens it: what node ``b`` makes
of ``a(in)`` is ``b(a(in))``, and a join of two branches is ``c(a(in)+b(in))``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zflow.errors import ExecutorError, ResourceExhausted, Unavailable
from zflow.roles.contract import failure
from zflow.wire.frames import DETAILS, DOCUMENTS, PARAMETERS, RESULTS, Part, part
from zflow.wire.header import Kind, Message
from zflow.wire.payload import decode_map

ExecutorFunction = Callable[[Message], Message]


class Crash(Exception):
    """Raised by an executor function whose process dies instead of answering."""


def text_of(parts: Sequence[Part], kind: int = DOCUMENTS) -> str:
    """What the parts of that kind hold, joined by ``+``."""
    return "+".join(b"".join(bytes(frame) for frame in item.frames).decode() for item in parts if item.kind == kind)


def echo(request: Message) -> Message:
    """The documents as they came."""
    return Message(Kind.REPLY, request.call_id, parts=[item for item in request.parts if item.kind == DOCUMENTS])


def tell(request: Message) -> Message:
    """One part that says which node made it of what."""
    node = str(request.extra.get("node", "?"))
    made = f"{node}({text_of(request.parts)})"
    return Message(Kind.REPLY, request.call_id, parts=[part(DOCUMENTS, "anything", [made.encode()])])


def tell_labels(request: Message) -> Message:
    """As `tell`, but with the labels and flags of what came, and a result of the node's own."""
    node = str(request.extra.get("node", "?"))
    seen = ",".join(item.label for item in request.parts if item.kind == DOCUMENTS)
    given = text_of(request.parts, PARAMETERS)
    told = f"{node}<{seen}|{given}|{request.flags}>"
    parts = [part(DOCUMENTS, node, [told.encode()]), part(RESULTS, f"{node}/rep-0", [node.encode()])]
    return Message(Kind.REPLY, request.call_id, parts=parts)


def fail(request: Message) -> Message:
    """The user's method raised."""
    return failure(request.call_id, ExecutorError("it raised", node="?", name="ValueError"))


def refuse(request: Message) -> Message:
    """Certainly not begun, and asking again may help."""
    return failure(request.call_id, Unavailable("not now"), not_started=True)


def refuse_as_full(request: Message) -> Message:
    """Certainly not begun, because too much waits."""
    return failure(request.call_id, ResourceExhausted("too much", retry_after=0.5), not_started=True)


def crash(request: Message) -> Message:
    """The process dies at it."""
    raise Crash(request.call_id.hex())


def at_first(first: ExecutorFunction, then: ExecutorFunction, times: int = 1) -> ExecutorFunction:
    """`first` for the first `times` requests, `then` for all that follow."""
    left = times

    def one_after_the_other(request: Message) -> Message:
        nonlocal left
        left -= 1
        return first(request) if left >= 0 else then(request)

    return one_after_the_other


def for_node(name: str, special: ExecutorFunction, others: ExecutorFunction) -> ExecutorFunction:
    """`special` for the requests to the node `name`, `others` for the rest."""
    return lambda request: special(request) if request.extra.get("node") == name else others(request)


def details_of(failure_message: Message) -> dict[str, Any]:
    """What a FAILURE, STATUS or DESCRIPTION tells."""
    [told] = [item for item in failure_message.parts if item.kind == DETAILS]
    return decode_map(told.buffers()[0])
