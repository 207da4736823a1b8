"""`python -m bench.growth [replicas chain ...]`: what a request costs as the work grows, as tables and as a plot.

A gateway's and a caller's cost is the processor time of their processes per request, as the kernel counts it: unlike
the time that a request takes it does not grow because 64 workers share two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench import machine, measuring
from bench.report import number
from bench.workloads import TEXT, UPPER_TEXT

POINT_S, QUICK_POINT_S = 2.0, 0.3
SERIES_S = 300.0
AT_LEAST = 5
WARM_UP = 10


class Load(NamedTuple):
    """A Flow under measurement: what asks it once, and the gateway's process."""

    ask: Callable[[], object]
    gateway: int


class Point(NamedTuple):
    """What one request costs at one size, in microseconds: how long it takes, and processor time here and there."""

    size: int
    latency: float
    caller: float
    gateway: float


@dataclass(frozen=True)
class Series:
    """Something that grows. per_item: the cost shall grow with it, and be the same for each; else it shall stay."""

    what: str
    sizes: tuple[int, ...]
    per_item: bool
    open: Callable[[int], AbstractContextManager[Load]]


# -- what grows


@contextlib.contextmanager
def _load(flow: Any, clients: int = 1, documents: int = 1) -> Iterator[Load]:
    from zflow import Client, Document, DocumentArray
    from zflow.documents.limits import MAX_DOCUMENTS

    asked = DocumentArray([Document(id=f"{number:032x}", text=TEXT) for number in range(documents)])
    with flow, contextlib.ExitStack() as stack:
        turns = itertools.cycle([stack.enter_context(Client(port=flow.port)) for _ in range(clients)])

        def ask() -> object:
            return next(turns).post("/", inputs=asked, request_size=min(documents, MAX_DOCUMENTS))[-1].text

        for _ in range(clients):
            if (answer := ask()) != UPPER_TEXT:
                raise RuntimeError(f"the Flow answered {answer!r} instead of {UPPER_TEXT!r}")
        [gateway] = [process.pid for process in flow.status() if process.name == "gateway"]
        assert gateway is not None
        yield Load(ask, gateway)


def _flow() -> Any:
    from zflow import Flow

    return Flow(quiet=True)


def _one(**options: Any) -> Any:
    from bench.executors import Upper

    return _flow().add(uses=Upper, **options)


def _chain(nodes: int) -> Any:
    from bench.executors import Upper

    flow = _flow()
    for node in range(nodes):
        flow = flow.add(uses=Upper, name=f"node{node}")
    return flow


def _fan(nodes: int) -> Any:
    from bench.executors import Upper

    flow = _flow()
    branches = [f"node{node}" for node in range(nodes)]
    for branch in branches:
        flow = flow.add(uses=Upper, name=branch, needs="gateway")
    return flow.add(name="join", needs=branches)


SERIES = {
    series.what: series
    for series in (
        Series("replicas", (1, 4, 16, 64), False, lambda size: _load(_one(replicas=size))),
        Series("shards-any", (1, 4, 16), False, lambda size: _load(_one(shards=size, polling="ANY"))),
        Series("shards-all", (1, 4, 16), True, lambda size: _load(_one(shards=size, polling="ALL"))),
        Series("clients", (1, 8, 64, 512), False, lambda size: _load(_one(), clients=size)),
        Series("chain", (1, 4, 16, 64), True, lambda size: _load(_chain(size))),
        Series("fan", (1, 4, 16, 64), True, lambda size: _load(_fan(size))),
        Series("documents", (1, 10, 100, 1_000, 10_000, 100_000), True, lambda size: _load(_one(), documents=size)),
    )
}


# -- measuring


def measure(load: Load, size: int, seconds: float) -> Point:
    """Ask for `seconds`, and at least a few times."""
    for _ in range(WARM_UP if seconds >= POINT_S else 1):
        load.ask()
    latencies: list[float] = []
    caller, gateway = time.process_time(), machine.processor_seconds(load.gateway)
    end = time.perf_counter() + seconds
    while len(latencies) < AT_LEAST or time.perf_counter() < end:
        before = time.perf_counter()
        load.ask()
        latencies.append(time.perf_counter() - before)
    caller, gateway = time.process_time() - caller, machine.processor_seconds(load.gateway) - gateway
    asked = len(latencies)
    return Point(size, statistics.median(latencies) * 1e6, caller / asked * 1e6, gateway / asked * 1e6)


def run(series: Series, seconds: float) -> list[Point]:
    """One point per size."""
    points = []
    with measuring.time_limit(SERIES_S, f"growth of {series.what}"):
        for size in series.sizes:
            with series.open(size) as load:
                points.append(measure(load, size, seconds))
    return points


# -- telling


def growth(points: Sequence[Point], per_item: bool) -> float:
    """How often the gateway's cost at the largest size is that at the smallest.

    Per item it is counted from the middle size on: below it what a request costs by itself hides what an item does.
    """
    first, last = points[len(points) // 2 - 1] if per_item else points[0], points[-1]
    times = last.gateway / max(first.gateway, 1e-9)
    return times / (last.size / first.size) if per_item else times


def table(series: Series, points: Sequence[Point]) -> str:
    """The points of one series as a Markdown table, and what they say."""
    head = (series.what, "request [us]", "caller, cpu [us]", "gateway, cpu [us]", "gateway, cpu per item [us]")
    rows = [head] + [
        (str(point.size), *map(number, point[1:]), number(point.gateway / point.size) if series.per_item else "-")
        for point in points
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    times = growth(points, series.per_item)
    if series.per_item:
        told = f"each costs the gateway {times:.2f} times as much at {points[-1].size} as at fewer (1 is linear)"
    else:
        told = f"with {points[-1].size} a request costs the gateway {times:.2f} times as much as with {points[0].size}"
    return "\n".join([*lines, "", f"{series.what}: {told}.", ""])


def plot(measured: Mapping[str, Sequence[Point]], path: Path) -> None:
    """All series in one picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(measured), 4), layout="constrained")
    for place, (what, points) in enumerate(measured.items(), 1):
        axes = figure.add_subplot(1, len(measured), place)
        sizes = [point.size for point in points]
        for name in ("latency", "caller", "gateway"):
            axes.loglog(sizes, [getattr(point, name) for point in points], marker="o", label=name)
        axes.set(xlabel=what, ylabel="us per request", title=what)
        axes.legend()
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a table per series; return 2 for an unknown one."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("series", nargs="*", metavar="SERIES", help=f"{', '.join(SERIES)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="a first impression: too short to rely on")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw FILE, .svg or .png (needs matplotlib)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.series if name not in SERIES]:
        print(f"bench.growth: there is no series {', '.join(unknown)}; there are {', '.join(SERIES)}", file=sys.stderr)
        return 2
    if options.plot is not None and importlib.util.find_spec("matplotlib") is None:
        print("bench.growth: --plot needs matplotlib; install zflow with its extra: [test]", file=sys.stderr)
        return 2
    measured: dict[str, list[Point]] = {}
    for name in options.series or SERIES:
        print(f"measuring the growth of {name} ...", file=sys.stderr, flush=True)
        busy = machine.busy_share()
        measured[name] = run(SERIES[name], QUICK_POINT_S if options.quick else POINT_S)
        print(table(SERIES[name], measured[name]))
        print(f"The machine was {machine.state_of(max(busy, machine.busy_share()))}.\n", flush=True)
    if options.plot is not None:
        plot(measured, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
