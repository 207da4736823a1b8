"""How two sides are compared on a noisy machine: blocks of questions in turn, and ratios between neighbours only."""

from __future__ import annotations

import contextlib
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType

Block = Callable[[int], list[float]]
Blocks = dict[str, list[list[float]]]


@dataclass(frozen=True)
class Figures:
    """What is told of one side: the middle sample and the one that 99 of 100 are better than."""

    median: float
    p99: float
    samples: int


def figures(blocks: Sequence[Sequence[float]], more_is_better: bool = False) -> Figures:
    """Figures over the samples of all blocks."""
    samples = sorted((sample for block in blocks for sample in block), reverse=more_is_better)
    return Figures(statistics.median(samples), samples[min(len(samples) - 1, len(samples) * 99 // 100)], len(samples))


def ratio(ours: Sequence[Sequence[float]], floor: Sequence[Sequence[float]]) -> float:
    """Ours divided by the floor: the middle of the ratios between blocks of the same round.

    What the machine does to both sides of a round cancels out; medians over the whole run would keep it.
    """
    pairs = zip(ours, floor, strict=True)
    return statistics.median(statistics.median(mine) / statistics.median(bare) for mine, bare in pairs)


def each(ask: Callable[[], object], clock: Callable[[], int] = time.perf_counter_ns) -> Block:
    """A block in which every question is timed by itself, in microseconds."""

    def block(count: int) -> list[float]:
        samples = []
        for _ in range(count):
            before = clock()
            ask()
            samples.append((clock() - before) / 1e3)
        return samples

    return block


def rate(ask: Callable[[int], object], clock: Callable[[], int] = time.perf_counter_ns) -> Block:
    """A block that is timed as a whole, in questions per second."""

    def block(count: int) -> list[float]:
        before = clock()
        ask(count)
        return [count * 1e9 / (clock() - before)]

    return block


def alternate(sides: Mapping[str, Block], rounds: int, size: int) -> Blocks:
    """Let every side have one block per round, in an order that turns round each time; the first round is a warm-up."""
    taken: Blocks = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds + 1):
        for name in names if number % 2 else reversed(names):
            samples = sides[name](size)
            if number:
                taken[name].append(samples)
    return taken


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Raise TimeoutError in the block when it takes longer, and again if ending it takes as long; main thread only.

    It leaves a blocked recv, too.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"{what} took longer than {seconds:.0f} s and was given up")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
