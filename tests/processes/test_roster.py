"""Who belongs to a plan while replicas come and go, and by which links they are asked."""

from __future__ import annotations

import pytest

from zflow.config.plan import plan_flow
from zflow.config.spec import FlowSpec
from zflow.executor import Executor
from zflow.processes.roster import Roster

SPEC = FlowSpec.from_options().add(uses=Executor, name="a", replicas=2).add(uses=Executor, name="b", shards=2)


@pytest.fixture
def roster() -> Roster:
    return Roster(plan_flow(SPEC))


def names(children: list) -> list[str]:
    return [child.name for child in children]


def test_it_begins_with_what_was_planned_the_gateway_last(roster):
    assert names(roster.children) == ["a/rep-0", "a/rep-1", "b/shard-0/rep-0", "b/shard-1/rep-0", "gateway"]
    assert names(roster.workers) == names(roster.children)[:-1]
    assert roster.gateway is roster.children[-1]
    assert names(roster.serving("a")) == ["a/rep-0", "a/rep-1"]


def test_each_shard_is_a_group_of_replicas(roster):
    assert roster.links("a") == ["a/rep-0", "a/rep-1"]
    assert roster.links("b/shard-1") == ["b/shard-1/rep-0"]
    assert roster.links("b") == []


def test_who_takes_a_name_gets_a_link_that_nobody_has_had(roster):
    [plan] = [worker for worker in plan_flow(SPEC).workers if worker.name == "a/rep-1"]
    first = roster.add(plan)
    assert (first.name, first.link, first.is_member) == ("a/rep-1", "a/rep-1.1", False)
    assert roster.links("a") == ["a/rep-0", "a/rep-1"]
    first.is_member = True
    roster.remove(roster.children[1])
    assert roster.links("a") == ["a/rep-0", "a/rep-1.1"]
    roster.remove(first)
    assert roster.add(plan).link == "a/rep-1.2"


def test_a_new_name_is_its_own_link_and_stands_beside_its_siblings(roster):
    plan = plan_flow(FlowSpec.from_options().add(uses=Executor, name="a", replicas=3)).workers[2]
    child = roster.add(plan)
    assert child.link == "a/rep-2"
    assert names(roster.children)[:4] == ["a/rep-0", "a/rep-1", "a/rep-2", "b/shard-0/rep-0"]
    assert roster.by_link("a/rep-2") is child
    roster.remove(child)
    assert roster.by_link("a/rep-2") is None


def test_a_replica_stands_beside_those_of_its_shard(roster):
    spec = FlowSpec.from_options().add(uses=Executor, name="b", shards=2, replicas=2)
    roster.add(next(plan for plan in plan_flow(spec).workers if plan.name == "b/shard-0/rep-1"))
    assert names(roster.children)[2:5] == ["b/shard-0/rep-0", "b/shard-0/rep-1", "b/shard-1/rep-0"]


def test_who_looks_while_it_changes_sees_a_whole_list(roster):
    seen = roster.children
    roster.remove(seen[0])
    assert len(seen) == 5 and len(roster.children) == 4


def test_the_sources_of_a_node_are_those_of_all_its_processes(roster):
    assert roster.sources("a") == (set(), set())
    for child, file in zip(roster.workers, ("/x.py", "/y.py", "/z.py", "/z.py"), strict=True):
        child.sources = ([file], ["/"])
    assert roster.sources("a") == ({"/x.py", "/y.py"}, {"/"})


def test_the_place_of_what_is_in_front_is_known_also_while_it_is_started_again(roster):
    front = roster.gateway
    assert roster.front_address == ""
    front.bound = "tcp://127.0.0.1:0"
    assert roster.front_address == ""
    front.address = front.bound = "tcp://127.0.0.1:7"
    front.ended()
    assert roster.front_address == "tcp://127.0.0.1:7"
