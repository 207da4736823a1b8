"""Options of dynamic batching: by decorator or by table, each checked, the more special one over the more general."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pytest

from zflow import Flow
from zflow.batching import OPTIONS, Batching, checked_batching, checked_options, dynamic_batching, joined, merged
from zflow.config.places import Place
from zflow.config.plan import plan_flow
from zflow.config.spec import ExecutorSpec, options_of
from zflow.errors import ConfigError
from zflow.executor import Executor, requests
from zflow.loading import describe

PLACE = Place("exec.yml", ("dynamic_batching",))


def batching_of(cls: type[Executor], on: str = "/a", **arguments: Any) -> Batching | None:
    endpoint = cls(**arguments).endpoint(on)
    assert endpoint is not None
    return endpoint.batching


class Decorated(Executor):
    @dynamic_batching(preferred_batch_size=4, timeout=200)
    @requests(on=["/a", "/b"])
    def work(self, docs, **kwargs): ...

    @requests(on="/alone")
    def alone(self, docs, **kwargs): ...


# -- the decorator -----------------------------------------------------------------------------------------------------


def test_the_decorators_may_stand_in_either_order():
    class Other(Executor):
        @requests(on="/a")
        @dynamic_batching(preferred_batch_size=4, timeout=200)
        def work(self, docs, **kwargs): ...

    assert batching_of(Other) == batching_of(Decorated) == Batching(4, 200)
    assert batching_of(Decorated, "/b") == Batching(4, 200)
    assert batching_of(Decorated, "/alone") is None


def test_without_brackets_it_has_the_defaults_that_jina_has():
    class Bare(Executor):
        @dynamic_batching
        @requests(on="/a")
        def work(self, docs, **kwargs): ...

    made = batching_of(Bare)
    assert made == Batching(None, 10_000, False, None, None, True)
    assert OPTIONS == (
        *("preferred_batch_size", "timeout", "flush_all", "custom_metric", "use_custom_metric", "use_dynamic_batching"),
    )


def test_an_override_is_batched_as_before_unless_it_is_decorated_itself():
    class Plain(Decorated):
        def work(self, docs, **kwargs): ...

    class Anew(Decorated):
        @requests(on="/a")
        def work(self, docs, **kwargs): ...

    assert batching_of(Plain) == Batching(4, 200)
    assert batching_of(Anew) is None


def test_it_reaches_through_other_decorators():
    def logged(function):
        @functools.wraps(function)
        def inner(self, **kwargs):
            return function(self, **kwargs)

        return inner

    class Wrapped(Executor):
        @requests(on="/a")
        @logged
        @dynamic_batching(timeout=5)
        def work(self, docs, **kwargs): ...

    assert batching_of(Wrapped) == Batching(timeout=5)


def test_it_belongs_on_a_plain_method_once():
    with pytest.raises(TypeError, match="belongs on a plain method"):
        dynamic_batching(timeout=1)(5)
    with pytest.raises(TypeError, match="has two @dynamic_batching"):
        dynamic_batching(dynamic_batching(lambda self, docs: None))


def test_a_wrong_option_of_the_decorator_names_the_method():
    with pytest.raises(
        ConfigError, match=r"work: @dynamic_batching prefered_batch_size: unknown key .* did you mean 'pr"
    ):

        @dynamic_batching(prefered_batch_size=4)
        def work(self, docs): ...


CANNOT = {
    "docs_matrix": (lambda self, docs, docs_matrix: None, "docs_matrix belongs to a single one"),
    "docs_map": (lambda self, docs_map, **kwargs: None, "docs_map belongs to a single one"),
    "doc": (lambda self, doc: None, "let it take docs instead of doc"),
    "no docs": (lambda self, parameters: None, "it takes none; let it take docs"),
}


@pytest.mark.parametrize("method, told", [pytest.param(*case, id=name) for name, case in CANNOT.items()])
def test_a_method_that_cannot_be_batched_is_refused_when_the_class_is_made(method, told):
    with pytest.raises(TypeError, match=told):
        type("Cannot", (Executor,), {"work": dynamic_batching(requests(method))})


def test_a_method_that_yields_is_refused_too():
    def work(self, docs):
        yield from docs

    with pytest.raises(TypeError, match="it yields them"):
        type("Cannot", (Executor,), {"work": dynamic_batching(requests(work))})


def test_what_cannot_be_batched_may_be_told_so():
    class Matrix(Executor):
        @dynamic_batching(use_dynamic_batching=False)
        @requests(on="/a")
        def work(self, docs_matrix, **kwargs): ...

    assert batching_of(Matrix) is None
    with pytest.raises(ConfigError, match="docs_matrix belongs to a single one"):
        Matrix(dynamic_batching={"/a": {"use_dynamic_batching": True}})


# -- tables ------------------------------------------------------------------------------------------------------------


def test_a_table_batches_what_has_no_decorator():
    assert batching_of(Decorated, "/alone", dynamic_batching={"/alone": {}}) == Batching()
    assert batching_of(Decorated, "/alone", dynamic_batching={"alone": {"timeout": 3}}) == Batching(timeout=3)


def test_an_endpoint_wins_over_its_method_and_that_over_the_decorator_key_by_key():
    table = {"work": {"timeout": 50, "flush_all": True}, "/a": {"timeout": 7}}
    assert batching_of(Decorated, "/a", dynamic_batching=table) == Batching(4, 7, flush_all=True)
    assert batching_of(Decorated, "/b", dynamic_batching=table) == Batching(4, 50, flush_all=True)


def test_a_table_can_switch_it_off():
    assert batching_of(Decorated, dynamic_batching={"work": {"use_dynamic_batching": False}}) is None


def test_it_follows_a_method_to_other_endpoints():
    executor = Decorated(requests={"/moved": "work"}, dynamic_batching={"/moved": {"timeout": 1}})
    assert executor.endpoints()["/moved"].batching == Batching(4, 1)
    assert "/a" not in executor.endpoints()


@pytest.mark.parametrize("name, near", [("/aa", "'/a'"), ("wrok", "'work'")])
def test_a_name_that_answers_nothing_is_refused_with_the_nearest(name, near):
    with pytest.raises(
        ConfigError, match=f"dynamic_batching: Decorated has no endpoint .*{name}.* did you mean {near}"
    ):
        Decorated(dynamic_batching={name: {}})


def test_a_table_that_names_what_cannot_be_batched_is_refused():
    class Single(Executor):
        @requests(on="/a")
        def work(self, doc, **kwargs): ...

    with pytest.raises(ConfigError, match="let it take docs instead of doc"):
        Single(dynamic_batching={"work": {}})


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ([], r"exec.yml dynamic_batching: expected a map of endpoints or methods to options"),
        ({"/a": 5}, r"dynamic_batching\['/a'\]: expected a map with some of preferred_batch_size"),
        ({"not a name": {}}, "expected an endpoint such as '/encode', or a method's name"),
        ({5: {}}, "expected an endpoint such as '/encode', or a method's name"),
        ({"/a": {"time_out": 1}}, r"\['/a'\].time_out: unknown key \"time_out\": did you mean 'timeout'\?"),
        ({"/a": {"preferred_batch_size": 0}}, "preferred_batch_size: expected a whole number from 1"),
        ({"/a": {"preferred_batch_size": True}}, "preferred_batch_size: expected a whole number from 1"),
        ({"/a": {"preferred_batch_size": "8"}}, 'preferred_batch_size: expected .* got "8"'),
        ({"/a": {"timeout": -1}}, "timeout: expected milliseconds from 0"),
        ({"/a": {"timeout": float("nan")}}, "timeout: expected milliseconds from 0"),
        ({"/a": {"flush_all": 1}}, "flush_all: expected true or false"),
        ({"/a": {"custom_metric": "len"}}, "custom_metric: expected a function of a Document"),
        ({"/a": {"use_custom_metric": "yes"}}, "use_custom_metric: expected true or false"),
        ({"/a": {"use_dynamic_batching": None}}, "use_dynamic_batching: expected true or false"),
    ],
)
def test_a_fault_in_a_table_has_an_address(table, told):
    with pytest.raises(ConfigError, match=told):
        checked_batching(table, PLACE)


def test_two_tables_become_one_key_by_key():
    first = {"/a": {"timeout": 1, "flush_all": True}, "b": {"timeout": 2}}
    assert joined(first, {"/a": {"timeout": 3}, "/c": {}}) == {
        "/a": {"timeout": 3, "flush_all": True},
        "b": {"timeout": 2},
        "/c": {},
    }


# -- the metric --------------------------------------------------------------------------------------------------------


def length(document: Any) -> float:
    return len(document.text)


def test_a_metric_counts_unless_it_is_switched_off():
    assert Batching(custom_metric=length).metric is length
    assert Batching(custom_metric=length, use_custom_metric=True).metric is length
    assert Batching(custom_metric=length, use_custom_metric=False).metric is None
    assert Batching().metric is None


def test_a_table_switches_the_decorators_metric_on():
    class Weighed(Executor):
        @dynamic_batching(custom_metric=length, use_custom_metric=False)
        @requests(on="/a")
        def work(self, docs, **kwargs): ...

    made = batching_of(Weighed, dynamic_batching={"/a": {"use_custom_metric": True}})
    assert made is not None and made.metric is length


def test_a_metric_that_is_not_there_cannot_be_used():
    with pytest.raises(ConfigError, match="use_custom_metric: there is no custom_metric to be used"):
        merged(Batching(), checked_options({"use_custom_metric": True}, PLACE), PLACE)


# -- where tables come from --------------------------------------------------------------------------------------------


def test_a_definition_in_yaml_has_a_table_and_what_is_given_beside_wins_key_by_key():
    text = (
        "jtype: Decorated\ndynamic_batching:\n  /a: {preferred_batch_size: 8, timeout: 30}\n  alone: {flush_all: true}"
    )
    description = describe(text, uses_dynamic_batching={"/a": {"timeout": 5}})
    executor = description.build({})
    assert executor.endpoints()["/a"].batching == Batching(8, 5)
    assert executor.endpoints()["/b"].batching == Batching(4, 200)
    assert executor.endpoints()["/alone"].batching == Batching(flush_all=True)


def test_what_was_given_is_saved_and_loaded_again(tmp_path):
    table = {"/a": {"preferred_batch_size": 8}, "alone": {"timeout": 2.5}}
    Decorated(dynamic_batching=table).save_config(tmp_path / "my.yml")
    loaded = Executor.load_config(tmp_path / "my.yml", uses_dynamic_batching={"/a": {"timeout": 1}})
    assert loaded.endpoints()["/a"].batching == Batching(8, 1)
    assert loaded.endpoints()["/alone"].batching == Batching(timeout=2.5)
    Decorated().save_config(tmp_path / "bare.yml")
    assert (tmp_path / "bare.yml").read_text() == "jtype: Decorated\n"


def test_an_executor_whose_init_nobody_wrote_is_batched_by_a_table_too():
    @dataclass
    class Data(Executor):
        size: int = 3

        @requests(on="/a")
        def work(self, docs, **kwargs): ...

    executor = describe(Data, uses_dynamic_batching={"work": {"timeout": 1}}).build({})
    assert executor.endpoints()["/a"].batching == Batching(timeout=1)


def test_a_flow_takes_a_table_in_python_and_yaml(tmp_path):
    table = {"/a": {"preferred_batch_size": 8, "timeout": 5}}
    flow = Flow().add(uses=Decorated, uses_dynamic_batching=table)
    flow.save_config(tmp_path / "flow.yml")
    [executor] = Flow.load_config(tmp_path / "flow.yml")._spec.executors
    assert executor.uses_dynamic_batching == table
    built = plan_flow(flow._spec).workers[0].description.build({})
    assert built.endpoints()["/a"].batching == Batching(8, 5)


def test_a_metric_given_to_a_flow_cannot_be_saved(tmp_path):
    flow = Flow().add(uses="Decorated", uses_dynamic_batching={"/a": {"custom_metric": length}})
    with pytest.raises(ConfigError, match=r"uses_dynamic_batching\['/a'\].custom_metric: a function cannot be written"):
        flow.save_config(tmp_path / "flow.yml")


def test_a_wrong_table_is_refused_by_add_and_an_external_executor_takes_none():
    with pytest.raises(
        ConfigError, match=r"uses_dynamic_batching: \['/a'\].timeot: unknown key .* did you mean 'timeout'"
    ):
        Flow().add(uses=Decorated, uses_dynamic_batching={"/a": {"timeot": 5}})
    with pytest.raises(ConfigError, match="uses_dynamic_batching: an external Executor runs already"):
        Flow().add(host="a:1", external=True, uses_dynamic_batching={"/a": {}})


def test_the_command_line_spells_a_table_entry_by_entry():
    [option] = [item for item in options_of(ExecutorSpec) if item.name == "uses_dynamic_batching"]
    read = option.read(['/a={"preferred_batch_size": 8, "timeout": 5}', 'work={"flush_all": true}'])
    assert option.check(read, Place()) == {
        "/a": {"preferred_batch_size": 8, "timeout": 5},
        "work": {"flush_all": True},
    }
