"""A rate counts only where the answers are right."""

from __future__ import annotations

import contextlib

import pytest

from bench import throughput
from bench.workloads import UPPER_TEXT


def test_a_side_with_a_wrong_answer_is_not_rated():
    with (
        pytest.raises(RuntimeError, match="its rate would mean nothing"),
        throughput._rated(contextlib.nullcontext(lambda count: None)),
    ):
        pytest.fail("the side was opened")


def test_a_side_with_the_right_answer_gives_one_rate_per_block():
    with throughput._rated(contextlib.nullcontext(lambda count: UPPER_TEXT)) as block:
        assert len(block(100)) == 1


@pytest.mark.parametrize("case, side", [(case, side) for case, sides in throughput.SIDES.items() for side in sides])
def test_every_side_answers_and_is_rated(case, side):
    with throughput.SIDES[case][side]() as block:
        assert block(100)[0] > 0.0
