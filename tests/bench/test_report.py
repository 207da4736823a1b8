"""The table says what the records say, and judges by the right figure."""

from __future__ import annotations

import json

import pytest

from bench import report
from bench.workloads import CASES

MACHINE = {"load_average": 0.5, "cores": 2, "python": "3.11.7", "machine": "x86_64", "pyzmq": "27.0.0"}


def figures(median, ratio):
    return {"median": median, "p99": 2 * median, "samples": 100, "ratio": ratio}


def record(case="W1-inline", zflow=(180.0, 1.2), floor=150.0, **more):
    sides = {"floor": figures(floor, 1.0)}
    if zflow:
        sides["zflow"] = figures(*zflow)
    return {"case": case, "rounds": 12, "quick": False, "state": "quiet", "machine": MACHINE, "sides": sides, **more}


@pytest.mark.parametrize(
    ("case", "zflow", "told"),
    [
        ("W1-inline", (180.0, 1.25), "met"),
        ("W1-inline", (180.0, 1.26), "missed"),
        ("W2-gateway", (9_000.0, 0.75), "met"),
        ("W2-gateway", (9_000.0, 0.74), "missed"),
        ("start-import", (60.0, 9.0), "met"),
        ("start-import", (60.1, 0.1), "missed"),
        ("codec-header", (1.0, 1.0), "-"),
        ("W1-inline", None, "-"),
    ],
)
def test_a_target_is_judged_by_the_ratio_or_by_its_absolute_limit(case, zflow, told):
    assert report.verdict(CASES[case], record(case, zflow)) == told


def test_every_target_is_told_in_words():
    told = {key: report.target_of(case) for key, case in CASES.items()}
    assert (told["W1-inline"], told["W2-gateway"], told["codec-header"]) == ("<= 1.25 x", ">= 0.75 x", "-")
    assert told["start-memory"] == "<= 5 MB"


def test_a_row_has_both_sides_their_ratio_and_the_state_of_the_machine():
    line = report.table([record()]).splitlines()[2]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:] == ["180", "360", "150", "300", "1.20 x", "<= 1.25 x", "met", "quiet"]


def test_other_ways_to_write_the_floor_stand_below_their_case():
    written = record()
    written["sides"]["tight"] = figures(120.0, 0.8)
    line = report.table([written]).splitlines()[3]
    assert [cell.strip() for cell in line.strip("|").split("|")][:6] == ["floor, tight", "", "", "120", "240", "0.80 x"]


def test_where_there_is_no_floor_zflow_stands_alone():
    alone = {**record("roles-one"), "sides": {"zflow": {"median": 20.0, "p99": 30.0, "samples": 100}}}
    cells = [cell.strip() for cell in report.table([alone]).splitlines()[2].strip("|").split("|")]
    assert cells[1:] == ["20", "30", "-", "-", "-", "-", "-", "quiet"]


def test_a_missing_zflow_is_told_with_its_reason():
    told = report.table([record(zflow=None, error="ImportError: no Flow")])
    assert told.splitlines()[-1] == "W1-inline: no zflow, ImportError: no Flow"


def test_a_quick_run_is_called_one():
    assert "too few to rely on" in report.table([record(quick=True)])
    assert "too few to rely on" not in report.table([record()])


def test_nothing_measured_is_said():
    assert report.table([]).endswith("nothing was measured")


def test_a_kept_run_gives_the_same_table():
    records = [record(), record("W2-gateway", (9_000.0, 0.8), 11_000.0)]
    lines = "\n".join(json.dumps(one) for one in records) + "\n"
    assert report.table(report.read(lines.splitlines())) == report.table(records)


@pytest.mark.parametrize(("value", "told"), [(0.1234, "0.123"), (1.25, "1.25"), (99.95, "100"), (20_900.4, "20 900")])
def test_numbers_are_as_long_as_they_are_worth(value, told):
    assert report.number(value) == told
