"""The floor answers what it was asked, in every shape and style, and leaves no process behind."""

from __future__ import annotations

import os

import pytest

from bench import floor
from bench.machine import family
from bench.workloads import UPPER_TEXT


@pytest.fixture(autouse=True)
def no_process_is_left():
    before = set(family(os.getpid()))
    yield
    assert set(family(os.getpid())) <= before


@pytest.mark.parametrize("style", floor.STYLES)
def test_a_question_through_the_gateway_comes_back_in_capitals(style):
    with floor.asking(floor.Text(3), style=style, links=("tcp", "ipc")) as ask:
        assert [ask(), ask()] == [UPPER_TEXT, UPPER_TEXT]


def test_rows_say_the_same_as_columns():
    with floor.asking(floor.Text(3, floor.rows), "upper_rows") as ask:
        assert ask() == UPPER_TEXT


def test_an_array_comes_back_as_it_was():
    with floor.asking(floor.Array(4096), "echo_array", "reference") as ask:
        array = ask()
    assert (array.dtype.str, array.shape, array.any()) == ("<f4", (1024,), False)


def test_a_row_asks_three_workers_and_branches_join():
    with floor.asking_in_a_row(floor.Text(1)) as in_a_row, floor.asking_two_branches(floor.Text(2)) as branches:
        assert len(family(os.getpid())) >= 1 + 6
        assert (in_a_row(), branches()) == (UPPER_TEXT, UPPER_TEXT)


def test_a_join_keeps_one_document_per_id():
    branch = floor.columns(["a", "b"], ["x", "y"])
    assert floor.unpack(floor.merge_columns([branch, branch])[0]) == {"id": ["a", "b"], "text": ["X", "Y"]}


@pytest.mark.parametrize("count", [1, 8, 21])
def test_many_questions_are_all_answered_also_when_fewer_than_may_be_in_flight(count):
    with floor.asking_many(floor.Text(1), 8, ("ipc", "ipc")) as ask:
        assert ask(count) == UPPER_TEXT
        # Nothing is left over that the next block would be given instead of its own answers.
        assert ask(1) == UPPER_TEXT
