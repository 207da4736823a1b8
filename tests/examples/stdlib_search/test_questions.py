"""The twenty questions: well-formed, answerable, and judged by any of the accepted names."""

from __future__ import annotations

from pathlib import Path

import pytest
from functions import public_functions
from questions import Question, load_questions


def test_there_are_twenty_different_ones() -> None:
    questions = load_questions()
    assert len({question.ask for question in questions}) == 20
    assert all(question.accept for question in questions)


def test_every_accepted_function_is_among_those_searched() -> None:
    names = {function.name for function in public_functions()[0]}
    assert not set().union(*(question.accept for question in load_questions())) - names


def test_one_accepted_match_answers() -> None:
    question = Question("which?", frozenset({"a.b", "a.c"}))
    assert question.answered_by(["x", "a.c"])
    assert not question.answered_by(["x", "y"])
    assert not question.answered_by([])


def test_a_malformed_entry_is_named(tmp_path: Path) -> None:
    path = tmp_path / "questions.yml"
    path.write_text("- ask: one\n  accept: [a]\n- ask: two\n  accepted: [b]\n", "utf-8")
    with pytest.raises(ValueError, match=r"questions\.yml, question 2: expected"):
        load_questions(path)
