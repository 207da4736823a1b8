"""What a change of a description has done to processes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from zflow.config.deployment import DeploymentSpec
from zflow.config.difference import difference
from zflow.config.plan import Plan, plan_deployment, plan_flow
from zflow.config.spec import FlowSpec
from zflow.executor import Executor


class Given(Executor): ...


def plan(**executors: dict[str, Any]) -> Plan:
    spec = FlowSpec.from_options()
    for name, options in executors.items():
        spec = spec.add(name=name, **{"uses": Given, **options})
    return plan_flow(spec)


BEFORE = plan(a={}, b={"replicas": 2})


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (plan(a={}, b={"replicas": 2}), "nothing that runs is concerned"),
        (plan(a={"uses_with": {"x": 1}}, b={"replicas": 2}), "restarting a"),
        (plan(a={"env": {"X": "1"}}, b={"replicas": 2}), "restarting a"),
        (plan(a={}, b={"replicas": 3}), "scaling b"),
        (plan(a={}, b={}), "scaling b"),
        (plan(a={}, b={"replicas": 3, "uses": Executor}), "restarting b"),
        (plan(a={"retries": 1}, b={"replicas": 2}), "restarting what is in front"),
        (plan(b={"replicas": 2}, a={}), "restarting what is in front"),
        (plan(a={}, b={"replicas": 2}, c={}), "starting c; restarting what is in front"),
        (plan(b={"replicas": 2, "needs": "gateway"}), "restarting what is in front; ending a"),
        (plan(a={"shards": 2}, b={"replicas": 2}), "restarting what is in front; scaling a"),
        (plan(a={"idempotent": True}, b={"replicas": 2}), "restarting a, what is in front"),
    ],
)
def test_only_what_is_concerned_is_touched(after, told):
    assert str(difference(BEFORE, after)) == told


def test_the_processes_of_the_new_plan_are_given():
    after = plan(a={"uses_with": {"x": 1}}, b={"replicas": 3}, c={})
    steps = difference(BEFORE, after)
    assert [worker.name for worker in steps.renewed["a"]] == ["a/rep-0"]
    assert [worker.name for worker in steps.scaled["b"]] == ["b/rep-0", "b/rep-1", "b/rep-2"]
    assert steps.coming == {"c": [after.workers[-1]]} and steps.leaving == [] and steps.in_front


def test_other_addresses_of_an_external_executor_concern_what_is_in_front():
    before, after = (
        plan(a={}, x={"uses": None, "external": True, "host": "localhost", "port_in": port}) for port in (1, 2)
    )
    assert str(difference(before, after)) == "restarting what is in front"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "nothing that runs is concerned"),
        ({"replicas": 2}, "scaling a"),
        ({"retries": 1}, "restarting what is in front"),
        ({"uses_with": {"x": 1}, "retries": 1}, "restarting a, what is in front"),
    ],
)
def test_the_head_of_a_deployment_is_what_is_in_front_of_it(options, told):
    before = plan_deployment(DeploymentSpec.from_options(uses=Given, name="a"))
    after = plan_deployment(DeploymentSpec.from_options(uses=Given, name="a", **options))
    assert str(difference(before, after)) == told
