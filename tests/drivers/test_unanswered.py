"""Who asks for an endpoint that is nobody's is told so, once, where that can only be a mistake."""

from __future__ import annotations

import pytest

from zflow.drivers.unanswered import Unanswered


@pytest.fixture
def told() -> list[str]:
    return []


def test_the_nearest_word_is_named_and_once_is_enough(told: list[str]) -> None:
    unanswered = Unanswered(["/shout", "/index"], told.append)
    for _ in range(3):
        unanswered.tell("/shuot", ["only"])
    assert told == ["nothing here answers '/shuot' (did you mean '/shout'?): its Documents pass as they are"]


def test_of_several_executors_another_one_may_be_meant(told: list[str]) -> None:
    unanswered = Unanswered(["/shout"], told.append)
    unanswered.tell("/index", ["one", "other"])
    assert not told
    unanswered.tell("/shot", ["one", "other"])
    assert len(told) == 1


def test_an_executor_that_answers_nothing_only_joins(told: list[str]) -> None:
    Unanswered([], told.append).tell("/", [])
    assert not told


def test_strangers_cannot_fill_the_log(told: list[str]) -> None:
    unanswered = Unanswered(["/shout"], told.append)
    for number in range(1000):
        unanswered.tell(f"/{number}" + "x" * 1000, [])
    assert len(told) == 16 and max(map(len, told)) < 200
