"""Which method answers which request."""

import functools
from typing import Any

import cloudpickle
import pytest

from zflow.endpoints import endpoint_problem, endpoints_of, requests
from zflow.errors import ConfigError
from zflow.executor import Executor


def names(cls: type[Executor]) -> dict[str, str]:
    return {on: endpoint.function.__name__ for on, endpoint in endpoints_of(cls).items()}


def test_every_form_of_the_decorator() -> None:
    class Forms(Executor):
        @requests
        def plain(self, **kwargs: Any) -> None: ...

        @requests(on="/one")
        def one(self, **kwargs: Any) -> None: ...

        @requests(on=["/a", "/b"], idempotent=True)
        def several(self, **kwargs: Any) -> None: ...

    assert names(Forms) == {"/default": "plain", "/one": "one", "/a": "several", "/b": "several"}
    assert [on for on, endpoint in endpoints_of(Forms).items() if endpoint.idempotent] == ["/a", "/b"]


def test_called_without_arguments_the_decorator_means_the_default() -> None:
    class Called(Executor):
        @requests()
        def foo(self, **kwargs: Any) -> None: ...

    assert names(Called) == {"/default": "foo"}


def test_of_several_methods_on_one_endpoint_the_last_one_defined_answers() -> None:
    class Several(Executor):
        @requests(on="/default")
        def first(self, **kwargs: Any) -> None: ...

        @requests
        def second(self, **kwargs: Any) -> None: ...

        @requests
        def third(self, **kwargs: Any) -> None: ...

    assert names(Several) == {"/default": "third"}


def test_a_name_defined_anew_counts_from_where_it_is_defined_anew() -> None:
    class Anew(Executor):
        @requests
        def foo(self, **kwargs: Any) -> None: ...

        @requests
        def bar(self, **kwargs: Any) -> None: ...

        @requests
        def foo(self, **kwargs: Any) -> None: ...  # noqa: F811

    assert names(Anew) == {"/default": "foo"}


class Parent(Executor):
    @requests(on="/a")
    def foo(self, **kwargs: Any) -> str:
        return "parent"

    @requests(on="/b")
    def bar(self, **kwargs: Any) -> None: ...


def test_endpoints_are_inherited() -> None:
    class Child(Parent):
        @requests(on="/c")
        def baz(self, **kwargs: Any) -> None: ...

    assert names(Child) == {"/a": "foo", "/b": "bar", "/c": "baz"}


def test_an_override_without_decorator_answers_where_the_overridden_method_did() -> None:
    class Child(Parent):
        def foo(self, **kwargs: Any) -> str:
            return "child"

    assert endpoints_of(Child)["/a"].function(Child()) == "child"


def test_an_override_with_a_decorator_answers_only_where_that_says() -> None:
    class Child(Parent):
        @requests(on="/new")
        def foo(self, **kwargs: Any) -> str:
            return "child"

    assert names(Child) == {"/new": "foo", "/b": "bar"}


def test_remapping_moves_a_method_from_all_its_former_endpoints() -> None:
    class Remapped(Executor):
        @requests(on=["/a", "/b"], idempotent=True)
        def foo(self, **kwargs: Any) -> None: ...

        def undecorated(self, **kwargs: Any) -> None: ...

    found = endpoints_of(Remapped, {"/x": "foo", "/y": "undecorated"})
    assert {on: (e.function.__name__, e.idempotent) for on, e in found.items()} == {
        "/x": ("foo", True),
        "/y": ("undecorated", False),
    }


def test_remapping_to_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Parent has no method 'fooo': did you mean 'foo'\?"):
        endpoints_of(Parent, {"/x": "fooo"})


def test_a_method_is_called_with_what_it_takes() -> None:
    class Wants(Executor):
        @requests(on="/docs")
        def docs_only(self, docs): ...  # type: ignore[no-untyped-def]

        @requests(on="/all")
        def all_of_it(self, **kwargs): ...  # type: ignore[no-untyped-def]

        @requests(on="/optional")
        def optional(self, docs=None, extra=3, *, parameters): ...  # type: ignore[no-untyped-def]

        @requests(on="/doc")
        def per_doc(self, doc, **kwargs): ...  # type: ignore[no-untyped-def]

    wants = {on: set(endpoint.wants) for on, endpoint in endpoints_of(Wants).items()}
    assert wants == {
        "/docs": {"docs"},
        "/all": {"docs", "parameters", "docs_matrix", "docs_map"},
        "/optional": {"docs", "parameters"},
        "/doc": {"doc", "parameters"},
    }
    assert [on for on, endpoint in endpoints_of(Wants).items() if endpoint.per_doc] == ["/doc"]


def test_async_methods_and_generators_are_told_apart() -> None:
    class Kinds(Executor):
        @requests(on="/plain")
        def plain(self, **kwargs: Any) -> None: ...

        @requests(on="/async")
        async def waits(self, **kwargs: Any) -> None: ...

        @requests(on="/yields")
        def yields(self, **kwargs: Any) -> Any:
            yield

        @requests(on="/both")
        async def both(self, **kwargs: Any) -> Any:
            yield

    kinds = {on: (endpoint.is_async, endpoint.is_generator) for on, endpoint in endpoints_of(Kinds).items()}
    assert kinds == {
        "/plain": (False, False),
        "/async": (True, False),
        "/yields": (False, True),
        "/both": (True, True),
    }


def handing_on(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    return wrapper


def test_other_decorators_may_stand_above_and_below() -> None:
    class Decorated(Executor):
        @handing_on
        @requests(on="/above")
        def above(self, docs): ...  # type: ignore[no-untyped-def]

        @requests(on="/below")
        @handing_on
        def below(self, docs, **kwargs): ...  # type: ignore[no-untyped-def]

    found = endpoints_of(Decorated)
    assert found["/above"].wants == {"docs"}  # more than the inner method takes would break it
    assert found["/below"].wants == {"docs", "parameters", "docs_matrix", "docs_map"}


@pytest.mark.parametrize(
    ("on", "told"),
    [
        ("index", r"'index' is no endpoint: write '/index'"),
        ("", "is no endpoint: it must be"),
        ("/a b", "is no endpoint: it must be"),
        ("/" + "x" * 128, "is no endpoint"),
        ("/\n", "is no endpoint"),
        (["/a", 3], "3 is no endpoint"),
    ],
)
def test_an_endpoint_that_the_protocol_cannot_carry_is_refused(on: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        requests(on=on)(lambda self: None)


def test_what_may_be_an_endpoint() -> None:
    assert [name for name in ("/", "/a", "/a/b.c_d-9", "/" + "x" * 127) if endpoint_problem(name)] == []


def test_what_no_request_brings_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"foo takes 'dosc', which no request brings: did you mean 'doc'\?"):

        class Misspelled(Executor):
            @requests
            def foo(self, dosc, **kwargs): ...  # type: ignore[no-untyped-def]


def test_doc_and_docs_together_are_refused() -> None:
    with pytest.raises(TypeError, match="takes both 'doc' .* and 'docs'"):

        class Both(Executor):
            @requests
            def foo(self, doc, docs, **kwargs): ...  # type: ignore[no-untyped-def]


def test_a_positional_only_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="'docs' must not be positional-only"):

        class Positional(Executor):
            @requests
            def foo(self, docs, /): ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_a_method_without_self_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match=f"remove @{kind.__name__}"):
        type("Selfless", (Executor,), {"foo": kind(requests(lambda docs: None))})


def test_two_decorators_on_one_method_are_refused() -> None:
    with pytest.raises(TypeError, match="name all endpoints in one"):
        requests(on="/a")(requests(on="/b")(lambda self: None))


def test_only_functions_can_be_decorated() -> None:
    with pytest.raises(TypeError, match="plain method"):
        requests(functools.partial(print))  # type: ignore[type-var]
    with pytest.raises(TypeError, match="names no endpoint"):
        requests(on=[])(lambda self: None)


def test_a_class_that_travelled_by_value_keeps_its_endpoints() -> None:
    class Travelling(Executor):
        @requests
        def first(self, **kwargs: Any) -> None: ...

        @requests
        def second(self, **kwargs: Any) -> None: ...

        @requests(on="/a", idempotent=True)
        async def third(self, doc: Any) -> None: ...

    arrived = cloudpickle.loads(cloudpickle.dumps(Travelling))
    assert names(arrived) == {"/default": "second", "/a": "third"}
    third = endpoints_of(arrived)["/a"]
    assert (third.per_doc, third.is_async, third.idempotent) == (True, True, True)
