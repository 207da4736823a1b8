"""Many questions at once (W2): how many small documents per second one caller gets answered, 64 in flight."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from bench import floor
from bench.measuring import Block, rate
from bench.workloads import CLIENTS, IN_FLIGHT, REPLICAS, TEXT, UPPER_TEXT

Side = Callable[[], AbstractContextManager[Block]]
AskMany = Callable[[int], object]
THROUGH_GATEWAY = ("tcp", "ipc")


@contextlib.contextmanager
def _rated(opened: AbstractContextManager[AskMany], expected: str = UPPER_TEXT) -> Iterator[Block]:
    with opened as ask:
        if (answer := ask(2 * IN_FLIGHT)) != expected:
            raise RuntimeError(f"a side answered {answer!r} instead of {expected!r}; its rate would mean nothing")
        yield rate(ask)


@contextlib.contextmanager
def _client_through_gateway(executor: str = "Upper") -> Iterator[AskMany]:
    # zflow is imported here so that the floor also runs where zflow does not.
    from bench import executors
    from zflow import Client, Document, Flow

    def ask(count: int) -> object:
        inputs = (Document(id=f"{number:032x}", text=TEXT) for number in range(count))
        answer = client.post("/", inputs=inputs, request_size=1, prefetch=IN_FLIGHT)
        if len(answer) != count:
            raise RuntimeError(f"{len(answer)} of {count} documents came back")
        return answer[-1].text

    with Flow(quiet=True).add(uses=getattr(executors, executor)) as flow, Client(port=flow.port) as client:
        yield ask


@contextlib.contextmanager
def _stream_through_gateway() -> Iterator[AskMany]:
    from bench.executors import Items
    from zflow import Client, Flow

    def ask(count: int) -> object:
        received = 0
        for document in client.stream("/", parameters={"count": count}):
            text = document.text
            received += 1
        if received != count:
            raise RuntimeError(f"{received} of {count} documents came")
        return text

    with Flow(quiet=True).add(uses=Items) as flow, Client(port=flow.port) as client:
        yield ask


@contextlib.contextmanager
def _replicas_inline() -> Iterator[AskMany]:
    from bench.executors import Nap
    from zflow import Document, Flow

    def ask(count: int) -> object:
        inputs = (Document(id=f"{number:032x}", text=TEXT) for number in range(count))
        answer = flow.post("/", inputs=inputs, request_size=1, prefetch=CLIENTS)
        if len(answer) != count:
            raise RuntimeError(f"{len(answer)} of {count} documents came back")
        return answer[-1].text

    with Flow(quiet=True).add(uses=Nap, replicas=REPLICAS) as flow:
        yield ask


@contextlib.contextmanager
def _one_limps() -> Iterator[Block]:
    """Asks until so many are answered; what the slow one has then is waited for outside the measured time."""
    from bench.executors import Limping
    from zflow import Document, Flow

    def block(count: int) -> list[float]:
        answered: list[int] = []

        def note(_: object) -> None:
            answered.append(time.perf_counter_ns())

        inputs = (Document(text=TEXT) for _ in itertools.takewhile(lambda _: len(answered) < count, itertools.count()))
        begun = time.perf_counter_ns()
        flow.post("/", inputs=inputs, request_size=1, prefetch=CLIENTS, on_done=note)
        return [count / (answered[count - 1] - begun) * 1e9]

    with Flow(quiet=True).add(uses=Limping, replicas=REPLICAS) as flow:
        yield block


def _bare_replicas(ahead: int) -> Side:
    return lambda: _rated(floor.asking_replicas(floor.Text(1), REPLICAS, ahead), TEXT)


def _bare(style: str, work: str = "upper_columns") -> Side:
    return lambda: _rated(floor.asking_many(floor.Text(1), IN_FLIGHT, THROUGH_GATEWAY, style, work))


def _bare_stream(style: str) -> Side:
    return lambda: _rated(floor.asking_for_items(THROUGH_GATEWAY, style))


SIDES: dict[str, dict[str, Side]] = {
    "W2-gateway": {
        "floor": _bare("plain"),
        "tight": _bare("tight"),
        "zflow": lambda: _rated(_client_through_gateway()),
    },
    "W7-inline": {
        "floor": _bare_replicas(2),
        "one ahead": _bare_replicas(1),
        "four ahead": _bare_replicas(4),
        "zflow": lambda: _rated(_replicas_inline(), TEXT),
    },
    "W7-limping": {"zflow": _one_limps},
    "batch-gateway": {
        "floor": _bare("plain", "batch"),
        "zflow": lambda: _rated(_client_through_gateway("Model")),
    },
    "stream-gateway": {
        "floor": _bare_stream("plain"),
        "tight": _bare_stream("tight"),
        "zflow": lambda: _rated(_stream_through_gateway()),
    },
}
