"""What deciding costs: one request through caller, gateway, head and worker as plain objects, without sockets.

The roles speak to each other as a driver lets them, in one thread and with a clock that stands still. There is no
floor to compare with; the figure is what the roles add to every request, and where a slower one comes from.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from bench.measuring import Block, each
from bench.workloads import SHAPES

Side = Callable[[], AbstractContextManager[Block]]
Ask = Callable[[], object]
NOW = 1.0


def _new_id() -> bytes:
    return os.urandom(16)


def _tell(role: Any, link: Any, message: Any) -> list[Any]:
    """What a driver does with a message: deliver it, then let happen what is due."""
    steps: list[Any] = role.receive(link, message, NOW)
    due = role.next_deadline()
    return steps if due is None or due > NOW else [*steps, *role.expire(NOW)]


def _network(shape: str) -> tuple[Any, dict[str, Any]]:
    """A gateway whose ways out lead to one worker each, greetings exchanged."""
    from zflow.roles.gateway import Gateway
    from zflow.roles.head import Head
    from zflow.roles.worker import Worker
    from zflow.topology import Node, Topology

    nodes = [Node(name, needs) for name, needs in SHAPES[shape]]
    heads = {node.name: Head(node.name, [f"{node.name}/rep-0"], new_id=_new_id) for node in nodes}
    gateway = Gateway(Topology(nodes), heads, new_id=_new_id)
    workers = {link: Worker(link, boot=bytes(16)) for link in gateway.ways_out()}
    for link, worker in workers.items():
        for _, hello in gateway.opened(link, NOW):
            for _, ready in _tell(worker, (b"gateway",), hello):
                _tell(gateway, link, ready)
    return gateway, workers


def ask_through(shape: str) -> Ask:
    """A function that asks one request through the graph of that shape; each worker gives back the documents it got."""
    from zflow.roles.caller import Caller
    from zflow.roles.contract import APPLICATION, EXECUTOR
    from zflow.wire.frames import DOCUMENTS, part
    from zflow.wire.header import Kind, Message

    gateway, workers = _network(shape)
    caller: Caller[None] = Caller(new_id=_new_id, endpoint="/", window=1)
    parts = [part(DOCUMENTS, "gateway", [bytes(64)])]

    def ask() -> object:
        steps = deque(_tell(gateway, APPLICATION, caller.ask(None, parts)))
        while steps:
            link, message = steps.popleft()
            if link == APPLICATION:
                return caller.settle(message)
            worker = workers[link]
            for _, request in _tell(worker, (b"gateway",), message):
                reply = Message(Kind.REPLY, request.call_id, parts=request.parts[:1])
                for _, outcome in _tell(worker, EXECUTOR, reply):
                    steps.extend(_tell(gateway, link, outcome))
        raise RuntimeError(f"the roles lost a request ({shape})")

    return ask


def _side(shape: str) -> Side:
    return lambda: contextlib.nullcontext(each(ask_through(shape)))


SIDES: dict[str, dict[str, Side]] = {f"roles-{shape}": {"zflow": _side(shape)} for shape in SHAPES}
