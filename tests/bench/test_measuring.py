"""Sides take turns, figures are of the right samples, and nothing waits for ever."""

from __future__ import annotations

import itertools
import time

import pytest

from bench import measuring


def test_figures_are_the_middle_and_the_worst_hundredth():
    told = measuring.figures([[float(n) for n in range(1, 101)], [float(n) for n in range(101, 201)]])
    assert (told.median, told.p99, told.samples) == (100.5, 199.0, 200)


def test_where_more_is_better_the_worst_are_the_lowest():
    assert measuring.figures([[float(n) for n in range(1, 201)]], more_is_better=True).p99 == 2.0


def test_one_sample_is_its_own_median_and_worst():
    assert measuring.figures([[7.0]]) == measuring.Figures(7.0, 7.0, 1)


def test_a_machine_that_becomes_slower_for_both_does_not_change_the_ratio():
    floor = [[10.0], [10.0], [40.0], [80.0]]
    ours = [[12.0], [12.0], [48.0], [96.0]]
    assert measuring.ratio(ours, floor) == pytest.approx(1.2)


def test_each_question_is_timed_by_itself():
    ticks = itertools.accumulate([0, 5_000, 1_000, 7_000])
    assert measuring.each(lambda: None, lambda: next(ticks))(2) == [5.0, 7.0]


def test_a_rate_is_of_the_whole_block():
    ticks = iter([0, 2_000_000_000])
    asked = []
    assert measuring.rate(asked.append, lambda: next(ticks))(500) == [250.0]
    assert asked == [500]


def test_sides_take_turns_in_an_order_that_turns_round_and_the_first_round_is_thrown_away():
    asked = []

    def side(name):
        def block(size):
            asked.append(name)
            return [float(len(asked))] * size

        return block

    taken = measuring.alternate({"floor": side("floor"), "zflow": side("zflow")}, rounds=2, size=2)
    assert asked == ["zflow", "floor", "floor", "zflow", "zflow", "floor"]
    assert taken == {"floor": [[3.0, 3.0], [6.0, 6.0]], "zflow": [[4.0, 4.0], [5.0, 5.0]]}


def test_a_block_that_hangs_is_given_up_by_name():
    with pytest.raises(TimeoutError, match="W1 took longer than 0 s"), measuring.time_limit(0.02, "W1"):
        time.sleep(30)


def test_a_block_in_time_is_left_alone():
    with measuring.time_limit(0.05, "W1"):
        pass
    time.sleep(0.06)  # longer than the limit: a timer that was left running would end this test
