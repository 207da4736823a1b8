"""Conditions on documents: every operator, paths, what is refused, and bounds."""

import numpy as np
import pytest

from zflow.documents import Document
from zflow.documents.query import MAX_CONDITIONS, MAX_REGEX, compile_query
from zflow.errors import ConfigError


def photo():
    return Document(
        id="p",
        text="a photo of Bach",
        weight=0.5,
        tags={"kind": "photo", "size": {"w": 640}, "list": [1, "two", {"x": 3}], "none": None, "a__b": 7, "empty": ""},
        scores={"cosine": 0.25},
        tensor=[1, 2],
        chunks=[Document(), Document()],
    )


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"text": "a photo of Bach"},
        {"tags__kind": {"$eq": "photo"}},
        {"tags__kind": {"$neq": "song"}},
        {"tags__size__w": {"$gt": 639, "$lte": 640}},
        {"tags__size__w": {"$gte": 640, "$lt": 641}},
        {"tags__size": {"$eq": {"w": 640}}},
        {"tags__kind": {"$in": ["song", "photo"]}},
        {"tags__kind": {"$nin": ["song"]}},
        {"text": {"$regex": "Ba.h$"}},
        {"tags__list": {"$size": 3}},
        {"chunks": {"$size": 2}},
        {"matches": {"$size": 0}},
        {"tags__kind": {"$exists": True}},
        {"tags__empty": {"$exists": True}},
        {"tags__nothing": {"$exists": False}},
        {"uri": {"$exists": False}},
        {"uri": ""},
        {"tags__none": {"$exists": False}},
        {"tags__list__1": "two"},
        {"tags__list__2__x": 3},
        {"tags__a__b": 7},
        {"scores__cosine": {"$lt": 0.3}},
        {"weight": 0.5},
        {"content_type": "text"},
        {"tensor": {"$eq": [1, 2]}},
        {"tensor": {"$neq": "text"}},
        {"$and": [{"weight": {"$gt": 0}}, {"tags__kind": "photo"}]},
        {"$or": [{"tags__kind": "song"}, {"tags__kind": "photo"}]},
        {"$not": {"tags__kind": "song"}},
        {"tags__kind": "photo", "weight": {"$gt": 0.4}},
        {"tags__missing": {"$neq": "x"}},
        {"tags__missing": {"$nin": ["x"]}},
        {"$not": {"tags__kind": {"$gt": 3}}},
        {"$not": {"tags__missing": {"$lt": 3}}},
        {"weight": {"$in": (np.float64(0.5),)}},
    ],
    ids=str,
)
def test_holds_and_its_negation_does_not(query):
    assert compile_query(query)(photo()) is True
    assert compile_query({"$not": query})(photo()) is False


@pytest.mark.parametrize(
    "query",
    [
        {"tags__kind__deeper": {"$exists": True}},
        {"tags__list__9": {"$exists": True}},
        {"tags__list__x": {"$exists": True}},
        {"text__x": {"$exists": True}},
        {"tags__kind": {"$regex": "xyz"}},
        {"weight": {"$regex": "0"}},
        {"embedding": {"$eq": [1, 2]}},
    ],
    ids=str,
)
def test_does_not_hold(query):
    assert compile_query(query)(photo()) is False


def test_asking_makes_no_containers():
    document = Document()
    assert not compile_query({"tags__x": 1, "scores__y": 2, "chunks": {"$size": 1}})(document)
    assert document._rest is None


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"tgas__kind": 1}, "did you mean 'tags'"),
        ({"tags__kind": {"$equal": 1}}, "did you mean '\\$eq'"),
        ({"$nor": []}, "did you mean '\\$or'"),
        ({"tags__kind": {"kind": 1}}, "unknown operator 'kind'"),
        ({"__class__": 1}, "no field ''"),
        ({"_rest": 1}, "no field '_rest'"),
        ({5: 1}, "a key is the name"),
        ({"$and": {}}, "list of conditions"),
        ({"$or": []}, "list of conditions"),
        ({"$and": ["text"]}, "a condition is a dict"),
        ({"$not": []}, "a condition is a dict"),
        ("text == 1", "a condition is a dict"),
        ({"text": {"$regex": "("}}, "no regular expression"),
        ({"text": {"$regex": 5}}, "regular expression"),
        ({"text": {"$regex": "a" * (MAX_REGEX + 1)}}, "at most"),
        ({"text": {"$in": "abc"}}, "a list is due"),
        ({"text": {"$size": "3"}}, "whole number"),
        ({"text": {"$size": -1}}, "whole number"),
        ({"text": {"$exists": 1}}, "True or False"),
    ],
    ids=str,
)
def test_a_mistake_is_named(query, told):
    with pytest.raises(ConfigError, match=told):
        compile_query(query)


def test_a_mistake_is_named_by_its_path():
    with pytest.raises(ConfigError, match=r"query\['\$and'\]\[1\]\['text'\]"):
        compile_query({"$and": [{}, {"text": {"$equals": 1}}]})


def test_depth_and_number_of_conditions_are_bounded():
    deep = {"text": "x"}
    for _ in range(1000):
        deep = {"$not": deep}
    with pytest.raises(ConfigError, match="nested"):
        compile_query(deep)
    with pytest.raises(ConfigError, match="more than"):
        compile_query({"$or": [{"text": "x"}] * MAX_CONDITIONS})


@pytest.mark.parametrize(
    "query", [{"tensor": {"$size": 1}}, {"tensor": {"$gt": 2**63}}, {"tensor__0": {"$size": 0, "$lt": -(2**63)}}]
)
def test_a_number_in_a_tensor_has_no_size_and_is_not_compared_with_what_is_too_large(query):
    for tensor in (np.array(5), np.arange(3)):
        assert compile_query(query)(Document(tensor=tensor)) is False
