"""What is told of a growing Flow follows from what was measured; the measuring itself runs once, small."""

from __future__ import annotations

import os

import pytest

from bench import growth
from bench.growth import SERIES, Load, Point


def points(*costs):
    return [Point(10**at, 1.0, 2.0, cost) for at, cost in enumerate(costs)]


@pytest.mark.parametrize(
    ("costs", "per_item", "times"),
    [
        ((100, 100, 100, 100), False, 1.0),
        ((100, 110, 120, 150), False, 1.5),
        ((100, 200, 2_000, 20_000), True, 1.0),  # what a request costs by itself does not count
        ((100, 200, 4_000, 40_000), True, 2.0),
        ((100, 200, 1_000, 5_000), True, 0.25),
    ],
)
def test_growth_is_that_of_the_gateway(costs, per_item, times):
    assert growth.growth(points(*costs), per_item) == pytest.approx(times)


def test_a_table_has_a_line_per_size_and_says_what_it_means():
    flat = growth.table(SERIES["clients"], points(100, 100, 100, 130)).splitlines()
    assert [cell.strip() for cell in flat[0].strip("|").split("|")][:2] == ["clients", "request [us]"]
    assert [line.strip("|").split("|")[0].strip() for line in flat[2:6]] == ["1", "10", "100", "1000"]
    assert flat[-1] == "clients: with 1000 a request costs the gateway 1.30 times as much as with 1."
    linear = growth.table(SERIES["chain"], points(100, 200, 2_000, 20_000))
    assert "chain: each costs the gateway 1.00 times as much at 1000 as at fewer (1 is linear)." in linear


def test_a_load_is_asked_a_few_times_at_least():
    asked = []
    point = growth.measure(Load(lambda: asked.append(1), os.getpid()), 7, 0.0)
    assert len(asked) == 1 + growth.AT_LEAST
    assert point.size == 7 and point.gateway > 0


@pytest.mark.parametrize("what", SERIES)
def test_every_series_asks_a_real_flow(what):
    series = SERIES[what]
    with series.open(series.sizes[1]) as load:
        load.ask()
        assert load.gateway != os.getpid()


def test_a_plot_has_a_panel_per_series(tmp_path):
    growth.plot({"chain": points(1, 2, 3, 4), "clients": points(1, 1, 1, 1)}, tmp_path / "growth.svg")
    drawn = (tmp_path / "growth.svg").read_text()
    assert drawn.count('id="axes_') == 2


def test_without_matplotlib_nothing_is_measured_in_vain(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert growth.main(["--plot", str(tmp_path / "growth.svg")]) == 2
    assert "needs matplotlib" in capsys.readouterr().err


def test_an_unknown_series_is_refused_by_name(capsys):
    assert growth.main(["replica"]) == 2
    assert "there is no series replica; there are replicas, " in capsys.readouterr().err


def test_a_run_prints_its_table(capsys, monkeypatch):
    monkeypatch.setattr(growth, "run", lambda series, seconds: points(1, 2, 3, 4))
    assert growth.main(["replicas", "--quick"]) == 0
    assert "replicas: with 1000 a request costs the gateway 4.00 times as much as with 1." in capsys.readouterr().out
