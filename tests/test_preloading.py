"""`preload`: who has one, what it is given, and that it runs once."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

from zflow.errors import ConfigError
from zflow.executor import Executor, requests
from zflow.preloading import has_preload, preload_once


class Plain(Executor):
    pass


class Loads(Executor):
    @classmethod
    def preload(cls) -> None:
        cls.loaded = [*getattr(cls, "loaded", []), cls.__name__]


class Heir(Loads):
    pass


def recording() -> type[Any]:
    class Records(Executor):
        seen: list[Any] = []

        @classmethod
        def preload(cls, model: Any = "small") -> None:
            cls.seen.append(model)

        def __init__(self, model: Any = "small", top_k: int = 3, **kwargs: Any) -> None:
            self.at_birth = list(self.seen)
            super().__init__(**kwargs)

    return Records


def test_who_has_one() -> None:
    assert has_preload(Loads) and has_preload(Heir)
    assert not has_preload(Plain) and not has_preload(Executor)


def test_a_static_one_is_one_as_well() -> None:
    class Static(Executor):
        seen: list[str] = []

        @staticmethod
        def preload() -> None:
            Static.seen.append("loaded")

    assert has_preload(Static)
    Static()
    assert Static.seen == ["loaded"]


def test_a_class_that_inherits_one_loads_for_itself() -> None:
    preload_once(Loads, {})
    preload_once(Heir, {})
    assert vars(Loads)["loaded"] == ["Loads"]
    assert vars(Heir)["loaded"] == ["Loads", "Heir"]


def test_it_may_call_that_of_its_base_class() -> None:
    class Calls(Loads):
        @classmethod
        def preload(cls) -> None:
            super().preload()
            Executor.preload()
            cls.more = True

    preload_once(Calls, {})
    assert "Calls" in Calls.loaded and Calls.more


def test_it_runs_once_and_before_init() -> None:
    records = recording()
    assert records().at_birth == ["small"]
    assert records().at_birth == ["small"]
    preload_once(records, {})
    assert records.seen == ["small"]


def test_it_gets_those_arguments_of_init_that_it_names() -> None:
    records = recording()
    assert records("large", top_k=5).at_birth == ["large"]
    assert records.seen == ["large"]


def test_it_runs_again_for_other_arguments_and_those_that_cannot_be_compared() -> None:
    records = recording()
    array = numpy.ones(3)
    for model in ("a", "a", "b", array, array, numpy.ones(3)):
        records(model)
    assert [str(model) for model in records.seen] == ["a", "b", "[1. 1. 1.]", "[1. 1. 1.]"]


def test_it_gets_all_arguments_by_kwargs() -> None:
    class All(Executor):
        seen: dict[str, Any] = {}

        @classmethod
        def preload(cls, **kwargs: Any) -> None:
            cls.seen = kwargs

        def __init__(self, one: int, two: int = 2, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    All(1, metas={"name": "all"}, runtime_args={})
    assert All.seen == {"one": 1}


def test_an_argument_that_it_lacks_is_named() -> None:
    class Lacks(Executor):
        @classmethod
        def preload(cls, model: str) -> None:
            raise AssertionError

    with pytest.raises(ConfigError, match=r"Lacks\.preload: missing a required argument: 'model'; .*uses_with"):
        Lacks()


def test_what_fails_is_tried_again() -> None:
    class Fails(Executor):
        times = 0

        @classmethod
        def preload(cls) -> None:
            cls.times += 1
            if cls.times == 1:
                raise OSError("no such file")

    with pytest.raises(OSError, match="no such file"):
        Fails()
    Fails()
    Fails()
    assert Fails.times == 2


def test_it_may_make_an_instance_of_its_own_class() -> None:
    class Tries(Executor):
        @classmethod
        def preload(cls) -> None:
            cls.first = cls()

    assert Tries().first is Tries.first


def test_it_runs_where_another_base_class_makes_the_instance() -> None:
    class Other:
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            return object.__new__(cls)

    class Both(Other, Loads):
        pass

    Both()
    assert "Both" in Both.loaded


def test_a_method_that_cannot_be_it_is_refused() -> None:
    with pytest.raises(TypeError, match="make it a @classmethod"):

        class Method(Executor):
            def preload(self) -> None: ...  # type: ignore[override]

    with pytest.raises(TypeError, match="must be a plain function"):

        class Async(Executor):
            @classmethod
            async def preload(cls) -> None: ...  # type: ignore[override]


def test_a_method_of_that_name_may_answer_requests() -> None:
    class Answers(Executor):
        @requests(on="/preload")
        def preload(self, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
            return {"asked": True}

    assert not has_preload(Answers)
    assert Answers().preload() == {"asked": True}
