"""Flow as a value: building, comparing, saving, refusing. What an open Flow does is tested end to end."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from zflow import ConfigError, Executor, Flow, TopologyError
from zflow.asynchronous import AsyncFlow
from zflow.config.spec import ExecutorSpec, options_of


def test_add_returns_a_new_flow_and_leaves_this_one() -> None:
    empty = Flow()
    one = empty.add(name="a")
    assert repr(empty) == "<Flow (no Executors), not open>"
    assert repr(one.add(name="b")) == "<Flow a -> b, not open>"
    assert one != empty and one == Flow().add(name="a")


def test_the_written_out_signature_of_add_has_every_option_and_no_other() -> None:
    written = [item.name for item in inspect.signature(Flow.add).parameters.values() if item.kind is item.KEYWORD_ONLY]
    declared = [option.name for option in options_of(ExecutorSpec)]
    assert sorted(written) == sorted(declared)


def test_aliases_are_accepted_and_unknown_options_refused() -> None:
    two = Flow().add(name="a", needs="gateway").add(name="b", needs="gateway")
    assert two.add(needs=["a", "b"], disable_reduce=True) == two.add(needs=["a", "b"], no_reduce=True)
    assert Flow(port_expose=4000).port == 4000
    with pytest.raises(ConfigError, match="did you mean 'replicas'"):
        Flow().add(replica=2)
    with pytest.raises(ConfigError, match="did you mean 'workspace'"):
        Flow(workspce="here")


def test_needs_and_needs_all() -> None:
    two = Flow().add(name="a", needs="gateway").add(name="b", needs="gateway")
    assert two.needs(["a", "b"]) == two.needs_all()
    assert repr(two.needs_all(name="all")) == "<Flow a -> b -> all, not open>"
    with pytest.raises(TopologyError, match="at least two"):
        two.needs(["a"])


def test_a_wrong_graph_is_refused_where_it_is_built() -> None:
    with pytest.raises(TopologyError, match="did you mean 'encoder'"):
        Flow().add(name="encoder").add(needs=["encode"])


def test_a_wrong_condition_is_refused_where_it_is_built() -> None:
    with pytest.raises(ConfigError, match=r"when: .*unknown operator '\$gtt'; did you mean '\$gte?'"):
        Flow().add(when={"weight": {"$gtt": 0.5}})


def test_conditions_and_waiting_in_yaml(tmp_path: Path) -> None:
    path = tmp_path / "flow.yml"
    flow = (
        Flow()
        .add(name="a", needs="gateway", when={"tags__kind": {"$in": ("x", "y")}}, timeout_send=50, on_timeout="skip")
        .add(name="b", needs="gateway", when={"$not": {"tags__kind": "x"}})
        .needs(["a", "b"], quorum=1, within=20)
        .add(name="log", floating=True)
    )
    flow.save_config(path)
    assert Flow.load_config(path) == flow
    with pytest.raises(ConfigError, match=r"flow\.yml:\d+ executors\[1\]\.when"):
        path.write_text(path.read_text().replace("$not", "$nnot"))
        Flow.load_config(path)


def test_what_needs_an_open_flow_says_so() -> None:
    flow = Flow().add()
    for use in (flow.post, flow.block, flow.status):
        with pytest.raises(ConfigError, match="with flow"):
            use()
    with pytest.raises(ConfigError, match="before it is open"):
        _ = flow.port
    flow.close()  # closing what is not open is nothing


def test_asyncio_makes_an_async_flow_which_stays_one() -> None:
    flow = Flow(asyncio=True)
    assert isinstance(flow, AsyncFlow) and isinstance(flow.add(), AsyncFlow)
    assert not isinstance(Flow(), AsyncFlow)


def test_yaml_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "flow.yml"
    flow = Flow(port=12345, asyncio=True).add(name="a").add(name="b", needs="gateway", timeout_send=500).needs_all()
    flow.save_config(path)
    assert "timeout_ready" not in path.read_text()  # only what was given
    loaded = Flow.load_config(path)
    assert loaded == flow and isinstance(loaded, AsyncFlow)


def test_serving_is_reached_from_the_executor_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Served(Executor):
        pass

    told: dict[str, object] = {}
    monkeypatch.setattr("zflow.flow.serve", lambda executor, **options: told.update(options, executor=executor))
    Served.serve(uses_with={"a": 1}, port=12345)
    assert told == {
        "executor": Served,
        "uses_with": {"a": 1},
        "uses_metas": None,
        "uses_requests": None,
        "uses_dynamic_batching": None,
        "stop_event": None,
        "port": 12345,
    }
