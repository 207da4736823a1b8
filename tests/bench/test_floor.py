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


def test_forked_workers_report_where_they_are_and_end_with_the_block(tmp_path):
    with floor.process("fork", str(tmp_path), "3") as child:
        assert len(set(child.addresses(3))) == 3
        assert len(family(child.pid)) == 1 + 3


def test_a_child_that_cannot_bind_is_told_apart_from_a_slow_one(tmp_path):
    missing = f"ipc://{tmp_path}/no-such-folder/worker"
    with (
        floor.process("serve", missing, "upper_columns", "plain") as child,
        pytest.raises(RuntimeError, match="ended before it was ready"),
    ):
        child.addresses(1)


def test_a_child_that_says_nothing_is_waited_for_no_longer_than_allowed(monkeypatch, tmp_path):
    monkeypatch.setattr(floor, "START_S", 0.0)  # no interpreter is that fast
    with (
        floor.process("serve", f"ipc://{tmp_path}/worker", "upper_columns", "plain") as child,
        pytest.raises(TimeoutError, match="the floor's serve reported no address"),
    ):
        child.addresses(1)
