"""`python -m bench.soak [--minutes 20]`: a Flow at half load whose processes are killed and stopped all the time.

Every answer is checked. What must come out: no request lost, none answered wrongly, no error (the Executor is
idempotent, so that a request whose replica died is sent again), and neither memory nor descriptors that grow.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bench import machine
from bench.report import number

CLIENTS = 4
REPLICAS = 4
DEADLINE_S = 30.0
CALIBRATION_S = 3.0
PAUSE_S = (0.5, 2.0)  # between two faults
STOPPED_S = (0.1, 8.0)  # how long a process stands still: it is given up after 4
LOOK_EVERY_S = 2.0
WARM = 1 / 4  # of the time: what is measured before is no slope yet


class Look(NamedTuple):
    """What was in use at one moment: seconds since the beginning, megabytes of all processes, our own descriptors."""

    at: float
    megabytes: float
    descriptors: int


class Load:
    """CLIENTS threads that ask at a steady rate and note every outcome."""

    def __init__(self, port: int) -> None:
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.slowest = 0.0
        self.asked = 0
        self._port = port
        self._lock = threading.Lock()

    def run(self, seconds: float, rate: float) -> None:
        """Ask for `seconds`, `rate` times a second altogether; as fast as answers come if it is 0."""
        pause = CLIENTS / rate if rate else 0.0
        threads = [threading.Thread(target=self._ask, args=(seconds, pause)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, seconds: float, pause: float) -> None:
        from zflow import Client

        begun = time.monotonic()
        due = begun + random.random() * pause
        with Client(port=self._port) as client:
            while time.monotonic() - begun < seconds:
                time.sleep(max(0.0, due - time.monotonic()))
                due += pause
                self._ask_once(client)

    def _ask_once(self, client: Any) -> None:
        from zflow.errors import ZflowError

        with self._lock:
            self.asked += 1
            text = f"request {self.asked}"
        begun = time.monotonic()
        try:
            answer = client.post("/", text, timeout=DEADLINE_S).texts
            outcome = "answered" if answer == [text.upper()] else f"wrong: {answer!r:.80}"
        except ZflowError as error:
            outcome = f"{type(error).__name__}: {error!s:.120}"
        with self._lock:
            self.outcomes[outcome] += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)


class Faults:
    """Kills and stops the processes of `flow` by chance, on a thread, between `with` and its end."""

    def __init__(self, flow: Any, chance: random.Random) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._flow = flow
        self._chance = chance
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._chance.uniform(*PAUSE_S)):
            replicas = [status.pid for status in self._flow.status() if status.name != "gateway" and status.pid]
            if len(replicas) < REPLICAS:
                continue  # one at a time: the others have to hold meanwhile
            fault = self._chance.choice(("killed", "stopped"))
            self.counts[fault] += 1
            self._do(fault, self._chance.choice(replicas))

    def _do(self, fault: str, pid: int) -> None:
        try:
            if fault == "killed":
                os.kill(pid, signal.SIGKILL)
                return
            os.kill(pid, signal.SIGSTOP)
            self._over.wait(self._chance.uniform(*STOPPED_S))
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass  # it was replaced meanwhile, which is what shall happen


def look(begun: float) -> Look:
    """What is in use now."""
    own = os.getpid()
    return Look(time.monotonic() - begun, machine.proportional_megabytes(own), len(os.listdir(f"/proc/{own}/fd")))


def slope(looks: Sequence[Look], what: Callable[[Look], float]) -> float:
    """By how much `what` grows in an hour, from the first quarter on; 0 where there is too little to say."""
    settled = [item for item in looks if item.at >= WARM * looks[-1].at]
    if len(settled) < 3:
        return 0.0
    fitted = statistics.linear_regression([item.at for item in settled], [what(item) for item in settled])
    return fitted.slope * 3600


def soak(seconds: float, seed: int, work_ms: float = 0.0) -> int:
    """Do it and print what came out. Returns 1 if a request did not get the one right answer."""
    from bench.executors import Repeatable
    from zflow import Flow

    print(f"random seed {seed}", flush=True)
    with Flow(quiet=True).add(
        uses=Repeatable, uses_with={"work_ms": work_ms}, replicas=REPLICAS, timeout_ready=60_000
    ) as flow:
        calibration = Load(flow.port)
        calibration.run(CALIBRATION_S, 0.0)
        rate = calibration.asked / CALIBRATION_S / 2
        load, looks, begun = Load(flow.port), list[Look](), time.monotonic()
        asking = threading.Thread(target=load.run, args=(seconds, rate))
        with Faults(flow, random.Random(seed)) as faults:
            asking.start()
            while asking.is_alive():
                looks.append(look(begun))
                asking.join(LOOK_EVERY_S)
    print(report(load, faults.counts, looks, rate))
    return 0 if set(load.outcomes) == {"answered"} and load.outcomes["answered"] == load.asked else 1


def report(load: Load, faults: Mapping[str, int], looks: Sequence[Look], rate: float) -> str:
    """What happened, in lines."""
    told = sum(load.outcomes.values())
    lines = [
        f"{load.asked} requests in {looks[-1].at:.0f} s, {number(rate)} a second: half of what it can",
        "faults: " + ", ".join(f"{count} replicas {fault}" for fault, count in sorted(faults.items())),
        f"lost: {load.asked - told}",
        *(f"{outcome}: {count}" for outcome, count in load.outcomes.most_common()),
        f"slowest answer: {load.slowest:.2f} s",
        f"memory of all processes: {looks[0].megabytes:.0f} MB at first, {looks[-1].megabytes:.0f} MB at last, "
        f"{slope(looks, lambda item: item.megabytes):+.1f} MB an hour from the first quarter on",
        f"descriptors of this process: {looks[0].descriptors} at first, {looks[-1].descriptors} at last, "
        f"{slope(looks, lambda item: item.descriptors):+.1f} an hour from the first quarter on",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code is 1 if one request did not get its answer."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, metavar="N", help="how long (20)")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="the same faults again")
    parser.add_argument("--work", type=float, default=0.0, metavar="MS", help="how long each call takes besides (0)")
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        print("bench.soak: --minutes must be more than 0", file=sys.stderr)
        return 2
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    return soak(options.minutes * 60, seed, options.work)


if __name__ == "__main__":
    sys.exit(main())
