"""Which requests the code that runs now is at work on: what log lines say of themselves.

Known in the worker's own thread and in the tasks of the event loop; not in threads that user code starts, unless it
copies its context to them.
"""

from __future__ import annotations

from contextvars import ContextVar

from zflow.wire.header import Message

_at_work: ContextVar[tuple[Message, ...]] = ContextVar("requests at work", default=())


def note(*requests: Message) -> None:
    """From now on, in this context, `requests` are being worked on; without any, none is."""
    _at_work.set(requests)


def id_of(request: Message) -> bytes:
    """The id by which whoever asked first knows `request`, whichever step of it this is."""
    told = request.extra.get("request")
    return told if isinstance(told, bytes) else request.call_id


def requests_at_work() -> list[str]:
    """The ids of the requests that the calling code works on, as `Response.request_id` has them."""
    return [id_of(request).hex() for request in _at_work.get()]
