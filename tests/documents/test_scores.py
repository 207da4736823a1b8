"""Scores: numbers with names, told in short where there is nothing else to tell."""

import copy

import numpy as np
import pytest

from zflow.documents.scores import NamedScore, Scores
from zflow.errors import InvalidDocument


def test_a_number_is_enough():
    scores = Scores({"a": 1})
    scores["b"] = np.float32(0.5)
    assert scores["a"] == NamedScore(1) and type(scores["b"].value) is float


def test_reading_a_name_makes_its_score():
    scores = Scores()
    scores["a"].value = 3.0
    assert scores == {"a": NamedScore(3.0)}


def test_a_dict_or_the_parts_in_order_make_one():
    full = NamedScore(0.5, "l2", "distance", "x")
    assert Scores({"a": {"value": 0.5, "op_name": "l2", "description": "distance", "ref_id": "x"}})["a"] == full
    assert Scores({"a": [0.5, "l2", "distance", "x"]})["a"] == full
    assert full.plain() == [0.5, "l2", "distance", "x"] and NamedScore(0.5).plain() == 0.5
    assert Scores({"a": full, "b": 2}).plain() == {"a": [0.5, "l2", "distance", "x"], "b": 2}


@pytest.mark.parametrize("score", ["much", None, True, [1], {"valu": 1}, {"value": "x"}, [1, 2, 3, 4], object()])
def test_what_is_no_score_is_refused_by_name(score):
    with pytest.raises(InvalidDocument) as refused:
        Scores({"a": score})
    assert refused.value.field.startswith("scores['a']")


def test_keys_are_str():
    with pytest.raises(InvalidDocument):
        Scores()[1] = 1


def test_copies_are_of_their_own():
    scores = Scores({"a": 1})
    for made in (scores.copy(), copy.deepcopy(scores)):
        assert made == scores and isinstance(made, Scores)
        made["a"].value = 2
        assert scores["a"].value == 1


def test_a_score_shows_what_it_has():
    assert repr(NamedScore(0.5)) == "NamedScore(value=0.5)"
    assert repr(NamedScore(0.5, op_name="l2")) == "NamedScore(value=0.5, op_name='l2')"
    assert NamedScore(1) != 1
