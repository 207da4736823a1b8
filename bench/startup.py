"""What it costs to be there: import, first answer, twenty Executors, memory per worker, weights that are shared.

Everything is measured in interpreters of its own, started for one figure each. An import is timed where nothing but
`time` was imported before it; for the rest, this module is run as a program with the name of a probe and prints one
number.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from bench.children import process
from bench.machine import proportional_megabytes
from bench.measuring import Block
from bench.workloads import EXECUTORS_AT_ONCE, REPLICAS, TEXT

Side = Callable[[], AbstractContextManager[Block]]
PROBE_S = 60.0
IMPORT = "import time; before = time.perf_counter(); import {module}; print((time.perf_counter() - before) * 1e3)"


# -- the probes; each returns milliseconds or megabytes


def floor_answer() -> float:
    """Start one bare worker in a fresh interpreter and ask it once."""
    from bench import floor

    before = time.perf_counter()
    with floor.asking(floor.Text(1)) as ask:
        ask()
        return (time.perf_counter() - before) * 1e3


def zflow_answer() -> float:
    """Start a Flow of one Executor and ask it once."""
    from bench.executors import Upper
    from zflow import Document, Flow

    before = time.perf_counter()
    with Flow(quiet=True).add(uses=Upper) as flow:
        flow.post("/", inputs=Document(text=TEXT))
        return (time.perf_counter() - before) * 1e3


@contextlib.contextmanager
def _forked_workers(count: int) -> Iterator[None]:
    with (
        tempfile.TemporaryDirectory(prefix="floor-") as directory,
        process("fork", directory, str(count)) as child,
    ):
        child.addresses(count)
        yield


@contextlib.contextmanager
def _flow_of(count: int) -> Iterator[None]:
    from bench.executors import Upper
    from zflow import Flow

    flow = Flow(quiet=True)
    for number in range(count):
        flow = flow.add(uses=Upper, name=f"upper{number}")
    with flow:
        yield


def _until_ready(opened: AbstractContextManager[None]) -> float:
    before = time.perf_counter()
    with opened:
        return (time.perf_counter() - before) * 1e3


def _per_further_worker(started: Callable[[int], AbstractContextManager[None]]) -> float:
    used = []
    for count in (1, 1 + EXECUTORS_AT_ONCE):
        with started(count):
            used.append(proportional_megabytes(os.getpid()))
    return (used[1] - used[0]) / EXECUTORS_AT_ONCE


@contextlib.contextmanager
def _weights(uses: str, replicas: int) -> Iterator[None]:
    from bench import executors
    from zflow import Flow

    with Flow(quiet=True).add(uses=getattr(executors, uses), replicas=replicas):
        yield


def _used_by(opened: AbstractContextManager[None]) -> float:
    with opened:
        return proportional_megabytes(os.getpid())


PROBES: dict[str, Callable[[], float]] = {
    "answer-floor": floor_answer,
    "answer-zflow": zflow_answer,
    "twenty-floor": lambda: _until_ready(_forked_workers(EXECUTORS_AT_ONCE)),
    "twenty-zflow": lambda: _until_ready(_flow_of(EXECUTORS_AT_ONCE)),
    "memory-floor": lambda: _per_further_worker(_forked_workers),
    "memory-zflow": lambda: _per_further_worker(_flow_of),
    "weights-memory-zflow": lambda: _used_by(_weights("Shares", REPLICAS)),
    "weights-memory-floor": lambda: _used_by(_weights("Owns", 1)),
    "weights-memory-each": lambda: _used_by(_weights("Owns", REPLICAS)),
    "weights-start-zflow": lambda: _until_ready(_weights("Shares", REPLICAS)),
    "weights-start-floor": lambda: _until_ready(_weights("Owns", 1)),
    "weights-start-each": lambda: _until_ready(_weights("Owns", REPLICAS)),
}


# -- the probes as sides


def probe(bytecode: str, *arguments: str) -> float:
    """The number a fresh interpreter prints. Raises RuntimeError with its last words when it fails.

    Compiled modules are kept in the folder `bytecode`: an installed package has them, a checkout may not, and where
    they may not be written every start would compile everything again.
    """
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, *arguments]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    ended = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=PROBE_S, check=False
    )
    if ended.returncode:
        words = ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"]
        raise RuntimeError(f"a fresh interpreter failed: {words[-1]}")
    return float(ended.stdout)


def _side(*arguments: str) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Block]:
        with tempfile.TemporaryDirectory(prefix="bytecode-") as bytecode:
            yield lambda count: [probe(bytecode, *arguments) for _ in range(count)]

    return opened


def _import(module: str) -> Side:
    return _side("-c", IMPORT.format(module=module))


def _probed(name: str) -> Side:
    return _side("-m", "bench.startup", name)


SIDES: dict[str, dict[str, Side]] = {
    "start-import": {
        "floor": _import("numpy"),
        "zmq": _import("zmq"),
        "zflow": _import("zflow"),
    },
    **{
        f"start-{what}": {"floor": _probed(f"{what}-floor"), "zflow": _probed(f"{what}-zflow")}
        for what in ("answer", "twenty", "memory")
    },
    **{
        f"weights-{what}": {side: _probed(f"weights-{what}-{side}") for side in ("floor", "each", "zflow")}
        for what in ("memory", "start")
    },
}

if __name__ == "__main__":
    print(PROBES[sys.argv[1]]())
