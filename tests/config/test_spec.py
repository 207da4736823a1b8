"""Flows and Executors as they are asked for."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from zflow.config import environment
from zflow.config.options import Surface
from zflow.config.places import Place
from zflow.config.spec import ExecutorSpec, FlowSpec, options_of
from zflow.errors import ConfigError, TopologyError
from zflow.executor import Executor
from zflow.topology import Node
from zflow.wire.conditions import encode_condition


class Encoder(Executor): ...


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def flow(*executors: dict[str, Any], **options: Any) -> FlowSpec:
    spec = FlowSpec.from_options(**options)
    for item in executors:
        spec = spec.add(**item)
    return spec


def names_and_needs(spec: FlowSpec) -> list[tuple[str, tuple[str, ...]]]:
    return [(executor.name, executor.needs) for executor in spec.executors]


# -- names and needs -----------------------------------------------------------------------------------------------


def test_without_needs_an_executor_follows_the_one_before() -> None:
    spec = flow({}, {"name": "second"}, {}, {"needs": "gateway"}, {"needs": ["second", "executor3"]})
    assert names_and_needs(spec) == [
        ("executor0", ("gateway",)),
        ("second", ("executor0",)),
        ("executor2", ("second",)),
        ("executor3", ("gateway",)),
        ("executor4", ("second", "executor3")),
    ]
    assert spec.topology().nodes[4] == Node("executor4", ("second", "executor3"), False)


def test_a_name_of_its_own_does_not_collide_with_a_given_one() -> None:
    assert [executor.name for executor in flow({"name": "executor1"}, {}, {}).executors] == [
        "executor1",
        "executor2",
        "executor3",
    ]


def test_joins() -> None:
    spec = flow({"name": "a"}, {"name": "b", "needs": "gateway"}, {"name": "c", "needs": "gateway"})
    assert names_and_needs(spec.needs(["a", "b"]))[-1] == ("joiner", ("a", "b"))
    everything = spec.needs(["a", "b"], name="ab").needs_all(no_reduce=True)
    assert names_and_needs(everything)[-1] == ("joiner", ("c", "ab"))
    assert names_and_needs(everything.add(needs="gateway").needs_all())[-1][0] == "joiner1"
    assert everything.executors[-1].no_reduce


def test_adding_leaves_the_flow_as_it_was() -> None:
    one = flow({})
    two = one.add()
    assert (len(one.executors), len(two.executors)) == (1, 2)


@pytest.mark.parametrize(
    ("executors", "told"),
    [
        (({"needs": "nobody"},), "'executor0' needs 'nobody', which is not in the Flow"),
        (({"name": "a"}, {"name": "a"}), "two Executors are named 'a'"),
        (({"name": "a", "needs": "a"},), "'a' needs itself"),
        (({"name": "a", "needs": "b"}, {"name": "b"}), "in a circle: a, b"),
        (({"name": "a"}, {"needs": ["a", "a"]}), "names one of its needs twice"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(executors: Any, told: str) -> None:
    with pytest.raises(TopologyError, match=told):
        flow(*executors).topology()


def test_a_join_needs_something_to_join() -> None:
    for needs in ("a", ["a"], []):
        with pytest.raises(TopologyError, match="a join needs at least two Executors"):
            flow({"name": "a"}).needs(needs)
    with pytest.raises(TopologyError, match="there is no Executor to join yet"):
        flow().needs_all()


# -- who waits for whom ------------------------------------------------------------------------------------------------


def test_what_is_added_next_and_what_joins_all_pass_floating_executors_by() -> None:
    spec = flow({"name": "a"}, {"name": "log", "floating": True}, {"name": "b"}, {"name": "other", "needs": "gateway"})
    assert names_and_needs(spec)[:3] == [("a", ("gateway",)), ("log", ("a",)), ("b", ("a",))]
    assert names_and_needs(spec.needs_all())[-1] == ("joiner", ("b", "other"))
    assert names_and_needs(flow({"floating": True}, {}))[-1] == ("executor1", ("gateway",))


def test_a_need_of_floating_executors_only_is_joined_with_the_rest() -> None:
    spec = flow({"name": "a"}, {"name": "log", "floating": True}, {"name": "b", "needs": "gateway"})
    assert names_and_needs(spec.needs_all())[-1] == ("joiner", ("a", "b"))


def test_what_is_said_of_waiting_reaches_the_graph() -> None:
    spec = flow(
        {"name": "a", "timeout_send": 50, "on_timeout": "skip"},
        {"name": "b", "needs": "gateway", "when": {"tags__kind": {"$in": ("x", "y")}}},
    ).needs(["a", "b"], quorum=1, within=250)
    a, b, join = spec.add(name="log", floating=True).topology().nodes[:3]
    assert (a.on_timeout, b.on_timeout, join.quorum, join.within) == ("skip", "fail", 1, 0.25)
    assert b.when == encode_condition({"tags__kind": {"$in": ["x", "y"]}}) and a.when == b""
    assert spec.executors[1].when == {"tags__kind": {"$in": ["x", "y"]}}  # as it is saved and as it travels
    assert flow({"when": {}}).topology().nodes[0].when == b""


# -- options -------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_declaration() -> None:
    executor = flow({}).executors[0]
    assert (executor.uses, executor.host, executor.port_in, executor.replicas) == (None, "127.0.0.1", None, 1)
    assert (executor.timeout_ready, executor.timeout_send, executor.retries) == (600_000, None, None)
    for spec in (ExecutorSpec(), FlowSpec()):
        assert {item.name: getattr(spec, item.name) for item in options_of(type(spec))} == {
            item.name: item.default for item in options_of(type(spec))
        }


def test_every_option_has_a_help_text_and_accepts_its_default() -> None:
    for spec in (ExecutorSpec, FlowSpec):
        for item in options_of(spec):
            assert item.help and item.surfaces & Surface.PYTHON
            if item.default not in (None, "", ()):
                assert spec.from_options(**{item.name: item.default}) == spec()


def test_options_take_their_normal_form() -> None:
    executor = ExecutorSpec.from_options(
        uses="pkg.module.Class", needs="a", env={"A": 1}, py_modules="pkg.mod", workspace=Path("x"), disable_reduce=True
    )
    assert (executor.uses, executor.needs, executor.env) == ("pkg.module:Class", ("a",), {"A": "1"})
    assert (executor.py_modules, executor.workspace, executor.no_reduce) == (("pkg.mod",), os.path.abspath("x"), True)
    assert FlowSpec.from_options(port_expose=5).port == 5


def test_a_file_is_fixed_when_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    executor = ExecutorSpec.from_options(uses="exec.yml", py_modules=["a.py"])
    monkeypatch.chdir("/")
    assert (executor.uses, executor.py_modules) == (f"{tmp_path}/exec.yml", (f"{tmp_path}/a.py",))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"replicas": "two"}, 'replicas: expected a whole number, got "two"'),
        ({"replica": 2}, "replica: unknown option \"replica\": did you mean 'replicas'?"),
        ({"uses": 3}, "uses: expected an Executor class"),
        ({"uses": "hub://X Y"}, "'x y' is no name in a registry"),
        ({"uses_with": {"metas": 1}}, "uses_with: metas: metas is no argument"),
        ({"uses_metas": {"nam": 1}}, "uses_metas: nam: unknown key"),
        ({"uses_requests": {"x": "y"}}, "uses_requests: 'x' is no endpoint"),
        ({"replicas": 2, "port_in": 5}, "port_in: replicas cannot share one port"),
        ({"shards": 2, "port_in": 5}, "port_in: shards cannot share one port"),
        ({"uses_before": Encoder, "port_in": 5}, "port_in: uses_before and uses_after cannot share one port"),
        ({"shards": 0}, "shards: expected a whole number from 1 to 256"),
        ({"polling": "SOME"}, "polling: no way of polling is called"),
        ({"poling": "ALL"}, "unknown option \"poling\": did you mean 'polling'?"),
        (
            {"when": {"tags__kind": {"$eqq": 1}}},
            "when: query['tags__kind']: unknown operator '$eqq'; did you mean '$eq'?",
        ),
        ({"when": {"tgs__kind": 1}}, "when: query['tgs__kind']: a Document has no field 'tgs'; did you mean 'tags'?"),
        ({"when": {"text": {"$in": {"a"}}}}, "when: query['text']['$in']"),
        ({"when": "text"}, 'when: expected a map with names for keys, got "text"'),
        ({"floating": "yes"}, "floating: expected true or false"),
        ({"quorum": 0}, "quorum: expected a whole number from 1"),
        ({"within": 0}, "within: expected a whole number from 1"),
        ({"on_timeout": "ignore", "timeout_send": 5}, "on_timeout: expected one of fail, skip"),
        ({"on_timeout": "skip"}, "on_timeout: without timeout_send no call takes too long"),
        ({"on_timeout": "skip", "timeout_send": -1}, "on_timeout: without timeout_send"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        flow(options)
    assert told in str(caught.value)


# -- what an Executor takes over from its Flow ---------------------------------------------------------------------


def test_what_an_executor_does_not_say_it_takes_from_its_flow() -> None:
    spec = flow(
        {},
        {"workspace": "own", "env": {"B": "own", "C": "own"}, "timeout_ready": 7, "quiet_error": False},
        workspace="flow",
        env={"A": "flow", "B": "flow"},
        timeout_ready=5,
        quiet_error=True,
        start_method="spawn",
        host="0.0.0.0",
    )
    first, second = spec.executors
    assert (first.workspace, first.env) == (os.path.abspath("flow"), {"A": "flow", "B": "flow"})
    assert (first.timeout_ready, first.quiet_error, first.start_method) == (5, True, "spawn")
    assert (second.workspace, second.env) == (os.path.abspath("own"), {"A": "flow", "B": "own", "C": "own"})
    assert (second.timeout_ready, second.quiet_error, second.start_method) == (7, False, "spawn")
    assert (first.host, first.given, set(second.given)) == (
        "127.0.0.1",
        {},
        {"workspace", "env", "timeout_ready", "quiet_error"},
    )


def test_the_environment_comes_after_flow_and_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_TIMEOUT_READY", "9")
    assert flow({}).executors[0].timeout_ready == 9
    assert flow({}, timeout_ready=5).executors[0].timeout_ready == 5
    assert flow({"timeout_ready": 4}, timeout_ready=5).executors[0].timeout_ready == 4
    assert flow({}).given == {}


def test_overriding_a_flow_reaches_its_executors_and_keeps_the_rest() -> None:
    spec = flow({}, {"timeout_ready": 4, "replicas": 2}, port=1, quiet=True).needs(["executor0", "executor1"])
    overridden = spec.override(port_expose=2, timeout_ready=9)
    assert (overridden.port, overridden.quiet) == (2, True)
    assert [executor.timeout_ready for executor in overridden.executors] == [9, 4, 9]
    assert names_and_needs(overridden) == names_and_needs(spec)
    assert spec.override() == spec
    with pytest.raises(ConfigError, match='^command line prot: unknown option "prot"'):
        spec.override(Place("command line"), Surface.CLI, prot=3)


# -- values --------------------------------------------------------------------------------------------------------


def test_specs_are_equal_by_value() -> None:
    assert flow({"replicas": 1}) == flow({}) == flow({"name": "executor0", "needs": "gateway"})
    assert flow({"replicas": 2}) != flow({})
    assert flow({}, port=1) != flow({})
    assert flow({"uses": Encoder}) == flow({"uses": Encoder})


def test_a_spec_travels() -> None:
    spec = flow({"uses": "Encoder", "env": {"A": 1}}, port=5)
    travelled = pickle.loads(pickle.dumps(spec))
    assert travelled == spec and travelled.executors[0].given == spec.executors[0].given


def test_a_join_of_all_is_told_that_it_needs_no_needs() -> None:
    flow = FlowSpec().add(name="a").add(name="b")
    with pytest.raises(ConfigError, match="needs: needs_all joins every Executor that is loose"):
        flow.needs_all(needs=["a"])
