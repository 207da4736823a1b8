"""The command measures what it is asked, keeps the floor when zflow fails, and says so."""

from __future__ import annotations

import contextlib
import json

import pytest

from bench import __main__ as bench
from bench.workloads import CASES


def side(cost):
    return lambda: contextlib.nullcontext(lambda count: [cost] * count)


def failing(when):
    """A side that fails when it is opened, or in its second block."""

    @contextlib.contextmanager
    def opened():
        if when == "opened":
            raise ImportError("no Flow\nin this checkout")
        asked = []

        def block(count):
            asked.append(count)
            if len(asked) > 2:
                raise RuntimeError("gone")
            return [1.0] * count

        yield block

    return opened


@pytest.fixture(autouse=True)
def quick_look(monkeypatch):
    monkeypatch.setattr(bench.machine, "LOOK_S", 0.0)


def test_a_record_holds_every_side_with_its_ratio_to_the_floor():
    sides = {"floor": side(10.0), "tight": side(8.0), "zflow": side(12.0)}
    record = bench.measure(CASES["W1-inline"], sides, quick=True)
    assert {name: figures["ratio"] for name, figures in record["sides"].items()} == {
        "floor": 1.0,
        "tight": 0.8,
        "zflow": 1.2,
    }
    assert record["sides"]["zflow"]["samples"] == bench.QUICK_ROUNDS * CASES["W1-inline"].block // bench.QUICK_SHARE
    assert "error" not in record


def test_a_case_without_a_floor_has_no_ratio():
    record = bench.measure(CASES["roles-one"], {"zflow": side(12.0)}, quick=True)
    assert record["sides"]["zflow"]["median"] == 12.0
    assert "ratio" not in record["sides"]["zflow"]


@pytest.mark.parametrize(("when", "told"), [("opened", "ImportError: no Flow"), ("asked", "RuntimeError: gone")])
def test_the_floor_is_measured_alone_when_zflow_fails(when, told):
    record = bench.measure(CASES["W1-inline"], {"floor": side(10.0), "zflow": failing(when)}, quick=True)
    assert record["error"] == told
    assert list(record["sides"]) == ["floor"]


@pytest.mark.parametrize("when", ["opened", "asked"])
def test_a_floor_that_fails_is_no_result(when):
    with pytest.raises((ImportError, RuntimeError)):
        bench.measure(CASES["W1-inline"], {"floor": failing(when), "zflow": side(1.0)}, quick=True)


def test_a_run_prints_its_table_and_keeps_its_records(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "SIDES", {"W5-inline": {"floor": side(10.0), "zflow": side(11.0)}})
    assert bench.main(["W5", "--quick", "--json", str(tmp_path / "run.jsonl")]) == 0
    assert "1.10 x" in capsys.readouterr().out
    assert json.loads((tmp_path / "run.jsonl").read_text())["case"] == "W5-inline"


def test_a_run_without_zflow_ends_with_one(monkeypatch, capsys):
    monkeypatch.setattr(bench, "SIDES", {"W5-inline": {"floor": side(10.0), "zflow": failing("opened")}})
    assert bench.main(["W5", "--quick"]) == 1
    assert "W5-inline: no zflow, ImportError: no Flow" in capsys.readouterr().out


def test_an_unknown_workload_ends_with_two_and_measures_nothing(capsys):
    assert bench.main(["W9"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "no workload w9" in told.err
