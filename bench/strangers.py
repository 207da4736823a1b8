"""`python -m bench.strangers`: what good callers notice of strangers who say nonsense to the same port, without end.

For each kind of port (a gateway's, a head's, an Executor's) blocks of good requests are measured in turns: alone, and
while strangers connect, say what no peer says, and leave. Every good answer is checked.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

STRANGERS = 4  # threads, in a process of their own
PER_SECOND = 50  # connections of each
ROUNDS = 6
REQUESTS = 500
END_S = 10.0
_HERE = "here\n"
_GREETING = b"\xff" + bytes(8) + b"\x7f\3\1NULL" + bytes(48)
_READY = b"\4\x19\5READY\x0bSocket-Type\0\0\0\6DEALER"
_NONSENSE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\3\1\0\xc8\1\0\0\xc4\3\3" + b"\x55" * 200,  # as TLS begins
    bytes(5000),
    b"\xff" * 5000,
    _GREETING[:20],
    _GREETING + _READY + b"\1\0" + b"\0\xc8" + b"x" * 200,  # a message that is no message of ours
    _GREETING + _READY + b"\2" + (1 << 62).to_bytes(8, "big") + b"x",  # a frame of 2^62 bytes
)


class Measured(NamedTuple):
    """The seconds of every good request, alone and among strangers, and how many strangers came."""

    alone: list[float]
    among: list[float]
    strangers: int


def _be_strange(port: int, over: threading.Event, chance: random.Random) -> int:
    came = 0
    while not over.wait(1 / PER_SECOND):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            came += 1
            connection.sendall(chance.choice((*_NONSENSE, chance.randbytes(2000))))
    return came


@contextlib.contextmanager
def strangers(port: int, counts: list[int]) -> Iterator[None]:
    """They come to `port`, from another process, until the block ends; `counts` gets how many there were."""
    command = [sys.executable, "-m", "bench.strangers", "--at", str(port)]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == _HERE
            yield
        finally:
            told, _ = process.communicate(timeout=END_S)
            counts.append(int(told))


def come(port: int) -> None:
    """Be the strangers, until stdin ends."""
    over, came = threading.Event(), [0] * STRANGERS

    def run(number: int) -> None:
        came[number] = _be_strange(port, over, random.Random(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(STRANGERS)]
    for thread in threads:
        thread.start()
    print(_HERE, end="", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(sum(came))


def ask(client: Any, times: int) -> list[float]:
    """The seconds of so many good requests. Raises AssertionError for an answer that is not the right one."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        answer = client.post("/", f"good {number}", timeout=30.0).texts
        taken.append(time.perf_counter() - began)
        assert answer == [f"GOOD {number}"], answer
    return taken


def measure(port: int, rounds: int, times: int) -> Measured:
    """Good requests to `port`, in turns alone and among strangers."""
    from zflow import Client

    measured, counts = Measured([], [], 0), list[int]()
    with Client(port=port) as client:
        ask(client, 10)
        for _ in range(rounds):
            measured.alone.extend(ask(client, times))
            with strangers(port, counts):
                measured.among.extend(ask(client, times))
    return measured._replace(strangers=sum(counts))


@contextlib.contextmanager
def ports() -> Iterator[dict[str, int]]:
    """One open port of each kind."""
    from bench.executors import Upper
    from zflow import Deployment, Flow

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flow = Flow(quiet=True).add(uses=Upper, port_in=port)
    with flow, Deployment(uses=Upper, replicas=2, quiet=True) as deployment:
        yield {"a gateway": flow.port, "a head": deployment.port, "an Executor": port}


def line(kind: str, measured: Measured) -> str:
    """What was measured at one kind of port."""
    alone, among = (_figures(seconds) for seconds in (measured.alone, measured.among))
    ratios = " and ".join(f"{after / before:.2f} x" for before, after in zip(alone, among, strict=True))
    shown = [f"{p50 * 1e6:.0f} / {p99 * 1e6:.0f} us" for p50, p99 in (alone, among)]
    return f"{kind:<12} {shown[0]:>18} {shown[1]:>18}   {ratios:<18} {measured.strangers:>6} strangers"


def _figures(seconds: Sequence[float]) -> tuple[float, float]:
    return statistics.median(seconds), statistics.quantiles(seconds, n=100)[98]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print a line for each kind of port."""
    parser = argparse.ArgumentParser(prog="python -m bench.strangers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of each kind ({ROUNDS})")
    parser.add_argument("--requests", type=int, default=REQUESTS, metavar="N", help=f"of each round ({REQUESTS})")
    parser.add_argument("--at", type=int, metavar="PORT", help="only be the strangers at PORT, until stdin ends")
    options = parser.parse_args(arguments)
    if options.at is not None:
        come(options.at)
        return 0
    if options.rounds < 1 or options.requests < 2:
        print("bench.strangers: --rounds must be at least 1 and --requests at least 2", file=sys.stderr)
        return 2
    print(f"{'port of':<12} {'p50 / p99 alone':>18} {'among strangers':>18}   ratio of each")
    with ports() as found:
        for kind, port in found.items():
            print(line(kind, measure(port, options.rounds, options.requests)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
