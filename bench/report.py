"""JSON lines of a run -> a table: zflow, the floor of the same run, their ratio, and the ratio that is the target.

`python -m bench.report FILE` prints the table of a run that was kept with `--json FILE`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.workloads import CASES, Case

Record = Mapping[str, Any]
COLUMNS = ("", "zflow", "p99", "floor", "p99", "ratio", "target", "", "machine")


def number(value: float) -> str:
    """Three significant digits, and no more digits than that where there are more before the point."""
    return f"{value:,.0f}".replace(",", " ") if value >= 100 else f"{value:.3g}"


def target_of(case: Case) -> str:
    """The target in words: a ratio, or an absolute figure where the design demands one of any machine."""
    sign = ">=" if case.more_is_better else "<="
    if case.limit is not None:
        return f"{sign} {number(case.limit)} {case.unit}"
    return f"{sign} {case.ratio:g} x" if case.ratio is not None else "-"


def verdict(case: Case, record: Record) -> str:
    """ "met" or "missed"; "-" where there is no target or nothing to compare."""
    ours = record["sides"].get("zflow")
    if ours is None or (case.limit is None and case.ratio is None):
        return "-"
    value, target = (ours["ratio"], case.ratio) if case.limit is None else (ours["median"], case.limit)
    assert target is not None
    return "met" if (value >= target if case.more_is_better else value <= target) else "missed"


def figures(side: Record | None) -> tuple[str, str]:
    """Median and 99th percentile of a side, "-" for one that was not measured."""
    return (number(side["median"]), number(side["p99"])) if side else ("-", "-")


def relation(side: Record | None) -> str:
    """The ratio of a side to the floor, if there is one."""
    return f"{side['ratio']:.2f} x" if side and "ratio" in side else "-"


def rows(record: Record) -> list[tuple[str, ...]]:
    """The lines of one case: the case itself, then each further side it was compared with."""
    case = CASES[record["case"]]
    sides = record["sides"]
    line: tuple[str, ...] = (
        f"{case.title} [{case.unit}]",
        *figures(sides.get("zflow")),
        *figures(sides.get("floor")),
        relation(sides.get("zflow")),
        target_of(case),
        verdict(case, record),
        record["state"],
    )
    lines = [line]
    for name, side in sides.items():
        if name not in ("zflow", "floor"):
            lines.append((f"    floor, {name}", "", "", *figures(side), relation(side), "", "", ""))
    return lines


def table(records: Iterable[Record]) -> str:
    """All records as one Markdown table, followed by what was measured on which machine."""
    records = list(records)
    lines = [row for record in records for row in rows(record)]
    widths = [max(len(row[column]) for row in [COLUMNS, *lines]) for column in range(len(COLUMNS))]

    def line(cells: Sequence[str]) -> str:
        first, *others = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return "| " + " | ".join([first, *others]) + " |"

    ruled = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(COLUMNS), ruled, *map(line, lines), "", *footer(records)])


def footer(records: Sequence[Record]) -> list[str]:
    """What every figure needs beside it, and why zflow's are missing where they are."""
    if not records:
        return ["nothing was measured"]
    machine = records[0]["machine"]
    loads = [record["machine"]["load_average"] for record in records]
    how = f"Medians and 99th percentiles of {records[0]['rounds']} rounds in which the sides took turns"
    if records[0]["quick"]:
        how += " (--quick: too few to rely on)"
    versions = f"{machine['cores']} cores ({machine['machine']}), Python {machine['python']}, pyzmq {machine['pyzmq']}"
    notes = [
        f"{how}.",
        "A ratio is the median over the rounds, so it may differ from the quotient of the medians.",
        f"{versions}; load average {min(loads)} to {max(loads)}.",
    ]
    return notes + [f"{record['case']}: no zflow, {record['error']}" for record in records if "error" in record]


def read(lines: Iterable[str]) -> list[Record]:
    """The records of a kept run."""
    return [json.loads(line) for line in lines if line.strip()]


if __name__ == "__main__":
    print(table(read(Path(sys.argv[1]).read_text().splitlines())))
