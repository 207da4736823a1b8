"""`python -m bench [W1 W3 ...] [--quick] [--json FILE]`: measure zflow and the floor in turns, and print the table."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import zmq

from bench import codec, machine, measuring, report, roles, round_trip, startup, throughput
from bench.measuring import Block
from bench.workloads import CASES, Case, select

Side = Callable[[], AbstractContextManager[Block]]
SIDES: dict[str, dict[str, Side]] = {
    **round_trip.SIDES,
    **throughput.SIDES,
    **startup.SIDES,
    **codec.SIDES,
    **roles.SIDES,
}
ROUNDS, QUICK_ROUNDS, QUICK_SHARE = 12, 4, 5
CASE_S = 300.0


def first_line(failure: Exception) -> str:
    """A failure in one line of the table."""
    return f"{type(failure).__name__}: {failure}".splitlines()[0]


def open_sides(sides: dict[str, Side], stack: ExitStack) -> tuple[dict[str, Block], str | None]:
    """Open every side; zflow's may fail, then its error is told and the floor is measured alone."""
    opened: dict[str, Block] = {}
    error = None
    for name, side in sides.items():
        try:
            opened[name] = stack.enter_context(side())
            if name == "zflow":
                opened[name](1)
        except Exception as failure:
            if name != "zflow":
                raise
            opened.pop(name, None)
            error = first_line(failure)
    return opened, error


def take_turns(opened: dict[str, Block], rounds: int, size: int) -> tuple[measuring.Blocks, str | None]:
    """Alternate between the sides; if zflow fails on the way, tell why and measure the others without it."""
    try:
        return measuring.alternate(opened, rounds, size), None
    except Exception as failure:
        others = {name: block for name, block in opened.items() if name != "zflow"}
        if len(others) == len(opened):
            raise
        return measuring.alternate(others, rounds, size), first_line(failure)


def measure(case: Case, sides: dict[str, Side], quick: bool) -> dict[str, Any]:
    """Run one case and return its record: figures per side, each with its ratio to the floor of the same rounds."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    size = max(1, case.block // QUICK_SHARE) if quick else case.block
    about = {**machine.description(), "pyzmq": zmq.pyzmq_version()}
    busy = machine.busy_share()
    with measuring.time_limit(CASE_S, case.title), ExitStack() as stack:
        opened, error = open_sides(sides, stack)
        blocks, failed = take_turns(opened, rounds, size)
    record: dict[str, Any] = {
        "case": case.key,
        "rounds": rounds,
        "quick": quick,
        "state": machine.state_of(max(busy, machine.busy_share())),
        "machine": about,
        "sides": {},
    }
    for name, taken in blocks.items():
        record["sides"][name] = dataclasses.asdict(measuring.figures(taken, case.more_is_better))
        if "floor" in blocks:
            record["sides"][name]["ratio"] = measuring.ratio(taken, blocks["floor"])
    if error := error or failed:
        record["error"] = error
    return record


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    workloads = ", ".join(dict.fromkeys(case.workload for case in CASES.values()))
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"{workloads}; all of them if none is named")
    parser.add_argument("--quick", action="store_true", help="a fifth of the questions in a third of the rounds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also append one JSON line per case to FILE")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and return 1 if zflow could not be measured somewhere."""
    options = parse(arguments)
    try:
        cases = select(options.workloads)
    except LookupError as unknown:
        print(f"bench: {unknown}", file=sys.stderr)
        return 2
    records = []
    with contextlib.suppress(KeyboardInterrupt):  # what was measured so far is worth its table
        for case in cases:
            print(f"measuring {case.title} ...", file=sys.stderr, flush=True)
            records.append(measure(case, SIDES[case.key], options.quick))
            if options.json:
                with options.json.open("a", encoding="utf-8") as kept:
                    kept.write(json.dumps(records[-1]) + "\n")
    print(report.table(records))
    return 1 if any("error" in record for record in records) or len(records) < len(cases) else 0


if __name__ == "__main__":
    sys.exit(main())
