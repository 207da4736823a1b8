"""Every case has a target that can be judged, two sides, and a name it is found by."""

from __future__ import annotations

import pytest

from bench.__main__ import SIDES
from bench.workloads import CASES, select


def test_every_case_has_zflow_and_the_floor_it_names():
    assert set(SIDES) == set(CASES)
    for key, sides in SIDES.items():
        assert "zflow" in sides
        assert ("floor" in sides) is bool(CASES[key].floor)


def test_a_ratio_is_demanded_only_where_there_is_a_floor():
    assert not [case.key for case in CASES.values() if case.ratio is not None and not case.floor]


def test_ratios_leave_room_in_the_right_direction():
    for case in CASES.values():
        if case.ratio is not None and case.more_is_better:
            assert case.ratio <= 1


def test_nothing_named_means_everything():
    assert select([]) == list(CASES.values())


@pytest.mark.parametrize("names", [["w4"], ["W4"], ["W4-1MiB", "w4-16mib"]])
def test_a_workload_is_all_its_cases_in_any_case_of_letters(names):
    assert [case.key for case in select(names)] == ["W4-1MiB", "W4-16MiB"]


def test_an_unknown_workload_is_refused_with_the_known_ones():
    with pytest.raises(LookupError, match=r"no workload w9; the workloads are W1, W2, .*codec"):
        select(["W1", "W9"])
