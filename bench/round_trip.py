"""Questions asked one at a time (W1, W3, W4, W5, W6): zflow's side of each, beside the floor's.

Both sides encode what they ask inside the timed part and read from what comes back, so that neither may put work off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from bench import floor
from bench.measuring import Block, each
from bench.workloads import MANY_DOCUMENTS, MEBIBYTE, SHAPES, TEXT, UPPER_TEXT

Side = Callable[[], AbstractContextManager[Block]]
THROUGH_GATEWAY = ("tcp", "ipc")


def _check(answer: object, expected: object) -> None:
    if answer != expected:
        raise RuntimeError(f"a side answered {answer!r} instead of {expected!r}; its times would mean nothing")


@contextlib.contextmanager
def _timed(
    opened: AbstractContextManager[floor.Ask], read: Callable[[Any], object], expected: object
) -> Iterator[Block]:
    with opened as ask:
        _check(read(ask()), expected)
        yield each(ask)


def texts(opened: Callable[[], AbstractContextManager[floor.Ask]]) -> Side:
    """A side whose answer is the last document's text, in capitals."""
    return lambda: _timed(opened(), str, UPPER_TEXT)


def arrays(opened: Callable[[], AbstractContextManager[floor.Ask]], size: int) -> Side:
    """A side whose answer is an array of `size` bytes."""
    return lambda: _timed(opened(), lambda array: array.nbytes, size)


# -- zflow's side; it is imported here so that the floor also runs where zflow does not


def _documents(count: int) -> Any:
    from zflow import Document, DocumentArray

    return DocumentArray([Document(id=f"{number:032x}", text=TEXT) for number in range(count)])


@contextlib.contextmanager
def _post_inline(shape: str) -> Iterator[floor.Ask]:
    from bench.executors import Upper
    from zflow import Flow

    flow = Flow(quiet=True)
    for name, needs in SHAPES[shape]:
        flow = flow.add(uses=Upper, name=name, needs=list(needs))
    documents = _documents(1)
    with flow:
        yield lambda: flow.post("/", inputs=documents)[-1].text


@contextlib.contextmanager
def _post_through_gateway(count: int) -> Iterator[floor.Ask]:
    from bench.executors import Upper
    from zflow import Client, Flow

    documents = _documents(count)
    with Flow(quiet=True).add(uses=Upper) as flow, Client(port=flow.port) as client:
        yield lambda: client.post("/", inputs=documents, request_size=count)[-1].text


@contextlib.contextmanager
def _post_array(size: int) -> Iterator[floor.Ask]:
    import numpy

    from bench.executors import Echo
    from zflow import Client, Document, Flow

    document = Document(tensor=numpy.zeros(size // 4, dtype="f4"))
    with Flow(quiet=True).add(uses=Echo) as flow, Client(port=flow.port) as client:
        yield lambda: client.post("/", inputs=document)[0].tensor


# -- the cases


def _text(links: tuple[str, ...], style: str = "plain", count: int = 1) -> Side:
    return texts(lambda: floor.asking(floor.Text(count), style=style, links=links))


def _rows() -> Side:
    content = floor.Text(MANY_DOCUMENTS, floor.rows)
    return texts(lambda: floor.asking(content, "upper_rows", links=THROUGH_GATEWAY))


def _array(size: int) -> dict[str, Side]:
    def bare() -> AbstractContextManager[floor.Ask]:
        return floor.asking(floor.Array(size), "echo_array", "reference", THROUGH_GATEWAY)

    return {"floor": arrays(bare, size), "zflow": arrays(lambda: _post_array(size), size)}


SIDES: dict[str, dict[str, Side]] = {
    "W1-inline": {
        "floor": _text(("ipc",)),
        "tight": _text(("ipc",), "tight"),
        "zflow": texts(lambda: _post_inline("one")),
    },
    "W1-gateway": {
        "floor": _text(THROUGH_GATEWAY),
        "tight": _text(THROUGH_GATEWAY, "tight"),
        "ipc": _text(("ipc", "ipc")),
        "zflow": texts(lambda: _post_through_gateway(1)),
    },
    "W3-gateway": {
        "floor": _text(THROUGH_GATEWAY, count=MANY_DOCUMENTS),
        "rows": _rows(),
        "zflow": texts(lambda: _post_through_gateway(MANY_DOCUMENTS)),
    },
    "W4-1MiB": _array(MEBIBYTE),
    "W4-16MiB": _array(16 * MEBIBYTE),
    "W5-inline": {
        "floor": texts(lambda: floor.asking_in_a_row(floor.Text(1))),
        "tight": texts(lambda: floor.asking_in_a_row(floor.Text(1), "tight")),
        "zflow": texts(lambda: _post_inline("row")),
    },
    "W6-inline": {
        "floor": texts(lambda: floor.asking_two_branches(floor.Text(1))),
        "tight": texts(lambda: floor.asking_two_branches(floor.Text(1), "tight")),
        "zflow": texts(lambda: _post_inline("branches")),
    },
}
