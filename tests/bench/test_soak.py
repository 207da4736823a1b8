"""The soak: what it counts and tells, and a short one with real faults."""

from __future__ import annotations

import pytest

from bench import soak
from bench.soak import Load, Look


def looks(*megabytes: float) -> list[Look]:
    return [Look(minute * 60.0, megabyte, 50) for minute, megabyte in enumerate(megabytes)]


def test_the_slope_is_that_after_the_first_quarter():
    grown = looks(10, 90, 100, 101, 102, 103, 104, 105, 106)
    assert soak.slope(grown, lambda item: item.megabytes) == pytest.approx(60)
    assert soak.slope(looks(10, 20), lambda item: item.megabytes) == 0.0


def test_what_was_lost_or_wrong_is_told():
    load = Load(0)
    load.asked = 5
    load.outcomes.update({"answered": 3, "Unavailable: gone": 1})
    told = soak.report(load, {"killed": 2, "stopped": 1}, looks(80, 81, 82, 83), 1000.0).splitlines()
    assert told[0].startswith("5 requests in 180 s")
    assert told[1] == "faults: 2 replicas killed, 1 replicas stopped"
    assert told[2:5] == ["lost: 1", "answered: 3", "Unavailable: gone: 1"]
    assert "80 MB at first, 83 MB at last, +60.0 MB an hour" in told[6]


@pytest.mark.parametrize("work", ["0", "3"])
def test_a_short_one_with_faults_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], work: str
):
    monkeypatch.setattr(soak, "CALIBRATION_S", 0.3)
    monkeypatch.setattr(soak, "PAUSE_S", (0.2, 0.3))
    monkeypatch.setattr(soak, "STOPPED_S", (0.1, 0.2))
    assert soak.main(["--minutes", "0.05", "--seed", "1", "--work", work]) == 0
    told = capsys.readouterr().out
    assert "lost: 0" in told
    assert "replicas killed" in told or "replicas stopped" in told


def test_no_time_is_refused(capsys: pytest.CaptureFixture[str]):
    assert soak.main(["--minutes", "0"]) == 2
    assert "--minutes must be more than 0" in capsys.readouterr().err
