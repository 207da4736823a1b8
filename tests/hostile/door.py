"""A worker with user code behind a real port, and one who says bad things to it and listens to what comes of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgpack
import pytest

from tests.support.peers import Gate, Served, Stranger
from zflow.documents import Document, DocumentArray
from zflow.drivers.user_code import UserCode
from zflow.endpoints import requests
from zflow.errors import BY_CODE
from zflow.executor import Executor
from zflow.wire.frames import DOCUMENTS, cut, part
from zflow.wire.header import NOT_STARTED, VERSION, Kind, Message, encode
from zflow.wire.payload import decode_map, encode_documents

DROPPED = "dropped"  # no answer, and counted
IGNORED = "ignored"  # about a call that is not here, which may have ended on its own: nobody is at fault
SERVED = "served"  # a REPLY: there is nothing wrong with it, as far as the protocol is concerned
_calls = itertools.count(1)


def new_call() -> bytes:
    """A call id that nobody has used."""
    return next(_calls).to_bytes(16, "big")


def header(**changed: Any) -> bytes:
    """The header of a REQUEST without payload, with places changed by name."""
    places = {
        "version": VERSION,
        "kind": int(Kind.REQUEST),
        "call_id": new_call(),
        "endpoint": "/",
        "budget": None,
        "flags": 0,
        "layout": [],
        "extra": {},
    }
    return msgpack.packb(list({**places, **changed}.values()))  # type: ignore[no-any-return]


def asking(*buffers: bytes, kind: int = DOCUMENTS) -> list[bytes]:
    """The frames of a REQUEST whose one part holds `buffers`."""
    message = Message(Kind.REQUEST, new_call(), "/", parts=[part(kind, "gateway", buffers)])
    return [bytes(frame) for frame in cut(encode(message))]


def body(**columns: Any) -> bytes:
    """The body of one document ``a``, with further columns, or others."""
    return msgpack.packb({"n": 1, "id": ["a"], **columns})  # type: ignore[no-any-return]


class Reader(Executor):
    """Looks at everything that its documents have, and gives them back."""

    @requests
    def read(self, docs: DocumentArray, parameters: dict[str, Any], **kwargs: Any) -> None:
        for doc in docs:
            doc.to_dict()

    @requests(on="/parameters")
    def tell(self, parameters: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return parameters


class Door:
    """What is served, and a connection to it that has greeted."""

    def __init__(self, served: Served, caller: Stranger) -> None:
        self.served = served
        self.caller = caller

    def hold(self) -> Gate:
        """Let the next call enter user code, and stay there until the gate is opened."""
        answer = self.served.reactor._executor._answer  # type: ignore[union-attr]
        gate = Gate(then=answer)
        self.served.reactor._executor._answer = gate  # type: ignore[union-attr]
        return gate

    @property
    def dropped(self) -> int:
        """How many messages the driver and the role have dropped."""
        return self.served.reactor._carrier.dropped + self.served.role.door.dropped  # type: ignore[attr-defined]

    def outcome(self, *frames: bytes) -> str:
        """What is said to one message: SERVED, the name of an error that says that nothing has run, or nothing: it was
        DROPPED, or, if it is not even counted, IGNORED."""
        before = self.dropped
        self.caller.say(*frames)
        heard = self._heard()
        if not heard:
            return DROPPED if self.dropped > before else IGNORED
        assert len(heard) == 1, heard
        return _told(heard[0])

    def _heard(self) -> list[Message]:
        """All that comes before the answer to a PING, and the outcome of a call that the answer says is still here."""
        ping = new_call()
        self.caller.tell(Message(Kind.PING, ping))
        heard = []
        while (message := self._next()).call_id != ping:
            heard.append(message)
        status = decode_map(message.parts[0].buffers()[0])
        return heard + [self._next() for _ in range(status["inflight"] + status["queued"])]

    def _next(self) -> Message:
        message = self.caller.hear()
        assert message is not None, "the connection has fallen silent"
        return message

    def serves(self) -> bool:
        """Whether the same connection gets the right answer to a good request."""
        good = DocumentArray([Document(id="g", text="good", tags={"x": 1})])
        self.caller.say(*asking(*[bytes(buffer) for buffer in encode_documents(good)]))
        answer = self._next()
        return answer.kind is Kind.REPLY and b"good" in b"".join(answer.parts[0].frames)


def _told(message: Message) -> str:
    if message.kind is Kind.FAILURE:
        assert message.flags & NOT_STARTED
        return BY_CODE[message.extra["code"]].__name__
    return SERVED if message.kind is Kind.REPLY else message.kind.name


@contextmanager
def opened(on_error: Callable[[BaseException], None] | None = None) -> Iterator[Door]:
    """A Door at a port of its own."""
    raised: list[BaseException] = []
    code = UserCode(Reader(), name="peer/rep-0", report=on_error or raised.append)
    with Served(code, bind="tcp://127.0.0.1:0") as served, Stranger(served.address) as caller:
        caller.greet()
        yield Door(served, caller)
    assert not raised, raised  # no bad input has reached user code


def rows(*cases: Sequence[Any]) -> list[Any]:
    """Parameters of a test: of each case the first is its id, which begins with the number of the input."""
    return [pytest.param(*case[1:], id=case[0]) for case in cases]
