"""A side is timed only once its answer was seen to be right."""

from __future__ import annotations

import contextlib

import pytest

from bench import round_trip
from bench.workloads import UPPER_TEXT


def test_a_side_with_the_right_answer_gives_as_many_times_as_questions():
    with round_trip.texts(lambda: contextlib.nullcontext(lambda: UPPER_TEXT))() as block:
        assert len(block(3)) == 3


def test_a_side_with_a_wrong_answer_is_not_timed():
    opened = round_trip.texts(lambda: contextlib.nullcontext(lambda: "a text of 20 letters"))
    with pytest.raises(RuntimeError, match="its times would mean nothing"), opened():
        pytest.fail("the side was opened")


def test_every_floor_of_a_case_with_texts_answers_rightly():
    with round_trip.SIDES["W6-inline"]["floor"]() as block:
        assert min(block(2)) > 0.0


@pytest.mark.parametrize("case", round_trip.SIDES)
def test_zflow_answers_what_the_floor_answers(case):
    with round_trip.SIDES[case]["zflow"]() as block:
        assert min(block(2)) > 0.0
