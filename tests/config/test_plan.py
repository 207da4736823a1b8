"""What follows from a spec: processes, links, addresses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from zflow.config import keys
from zflow.config.deployment import DeploymentSpec
from zflow.config.plan import (
    GatewayPlan,
    HeadPlan,
    NodePlan,
    Plan,
    ReplicaPlan,
    ShardingPlan,
    plan_deployment,
    plan_flow,
    plan_gateway,
    plan_head,
    plan_standalone,
    plan_workers,
)
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.drivers.sockets import new_identity
from zflow.errors import ConfigError, TopologyError
from zflow.executor import Executor
from zflow.loading import describe
from zflow.topology import Node, Topology


class Given(Executor):
    """An Executor to be named."""


class Other(Executor):
    """Another one."""


def flow(**options: Any) -> FlowSpec:
    return FlowSpec.from_options(**options)


def test_a_flow_of_one_executor_is_a_worker_and_a_gateway() -> None:
    plan = plan_flow(flow().add(uses=Given))
    topology = Topology([Node("executor0", ("gateway",))])
    node = NodePlan("executor0", (ReplicaPlan("executor0/rep-0"),))
    assert plan.topology == topology
    assert plan.nodes == (node,)
    assert plan.gateway == GatewayPlan("gateway", "tcp://127.0.0.1:0", topology, (node,))
    [worker] = plan.workers
    assert (worker.name, worker.node, worker.bind, worker.env) == ("executor0/rep-0", "executor0", None, {})
    assert (worker.timeout_ready, worker.start_method) == (600.0, "warm")
    assert worker.description.target is Given
    assert worker.runtime_args == {
        "name": "executor0/rep-0",
        "replicas": 1,
        "replica_id": 0,
        "shards": 1,
        "shard_id": 0,
        "workspace": "",
    }


def test_replicas_are_multiplied_here() -> None:
    plan = plan_flow(flow().add(uses=Given, replicas=3).add(name="last"))
    assert [worker.name for worker in plan.workers] == [
        *("executor0/rep-0", "executor0/rep-1", "executor0/rep-2"),
        "last/rep-0",
    ]
    assert [worker.runtime_args["replica_id"] for worker in plan.workers] == [0, 1, 2, 0]
    assert {worker.runtime_args["replicas"] for worker in plan.workers[:3]} == {3}
    assert [len(node.replicas) for node in plan.nodes] == [3, 1]
    assert plan.workers[0].description is plan.workers[2].description


def test_shards_are_multiplied_with_replicas_and_each_knows_its_own() -> None:
    plan = plan_flow(flow(workspace="ws").add(uses=Given, name="x", shards=2, replicas=2, allow_partial=True))
    links = ["x/shard-0/rep-0", "x/shard-0/rep-1", "x/shard-1/rep-0", "x/shard-1/rep-1"]
    assert [worker.name for worker in plan.workers] == links
    assert [worker.runtime_args["name"] for worker in plan.workers] == links
    assert [worker.runtime_args["shard_id"] for worker in plan.workers] == [0, 0, 1, 1]
    assert [worker.runtime_args["replica_id"] for worker in plan.workers] == [0, 1, 0, 1]
    assert {worker.runtime_args["shards"] for worker in plan.workers} == {2}
    [node] = plan.nodes
    assert [(replica.link, replica.shard) for replica in node.replicas] == list(zip(links, (0, 0, 1, 1)))
    assert node.sharding == ShardingPlan(2, {"/search": "ALL", "/index": "ANY", "*": "ANY"}, allow_partial=True)


def test_what_is_around_the_shards_is_one_process_each_with_nothing_of_theirs() -> None:
    of_its_class = {"uses_with": {"x": 1}, "uses_dynamic_batching": {"/": {"preferred_batch_size": 2}}}
    plan = plan_flow(flow().add(uses=Given, **of_its_class, name="x", uses_before=Other, uses_after=Other))
    before, after = (plan.workers[1], plan.workers[2])
    assert [worker.name for worker in plan.workers] == ["x/rep-0", "x/uses-before/rep-0", "x/uses-after/rep-0"]
    assert before.description.target is after.description.target is Other
    assert before.description == describe(Other)
    assert {worker.node for worker in plan.workers} == {"x"}
    sharding = plan.nodes[0].sharding
    assert sharding is not None
    assert (sharding.shards, sharding.before, sharding.after) == (1, "x/uses-before/rep-0", "x/uses-after/rep-0")
    assert plan.nodes[0].replicas == (ReplicaPlan("x/rep-0"),)


def test_the_executor_that_the_worker_will_build() -> None:
    plan = plan_flow(flow(workspace="ws").add(uses=Given, uses_metas={"name": "Own Name"}))
    executor = plan.workers[0].description.build(plan.workers[0].runtime_args)
    assert executor.metas.name == "Own Name"
    assert executor.runtime_args.name == "executor0/rep-0"
    assert executor.runtime_args.workspace == os.path.abspath("ws")
    assert executor.runtime_args.shard_id == 0


def test_an_external_executor_has_addresses_and_no_process() -> None:
    spec = flow(insecure=True).add(host="10.0.0.5", port_in=12345, external=True).add(uses=Given)
    plan = plan_flow(spec)
    assert [worker.name for worker in plan.workers] == ["executor1/rep-0"]
    assert plan.nodes[0].replicas == (ReplicaPlan("executor0/rep-0", "tcp://10.0.0.5:12345"),)


def test_several_hosts_are_its_replicas() -> None:
    plan = plan_flow(flow(insecure=True).add(host=["a.example:1", "[::1]:3"], external=True, name="far"))
    assert plan.nodes[0].replicas == (
        ReplicaPlan("far/rep-0", "tcp://a.example:1"),
        ReplicaPlan("far/rep-1", "tcp://[::1]:3"),
    )
    assert plan.workers == ()


@pytest.mark.parametrize(
    ("host", "bind"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:12345"),
        ("localhost", "tcp://127.0.0.1:12345"),
        ("127.0.0.2", "tcp://127.0.0.2:12345"),
        ("::1", "tcp://[::1]:12345"),
    ],
)
def test_a_port_on_loopback_is_bound_there(host: str, bind: str) -> None:
    plan = plan_flow(flow().add(uses=Given, host=host, port_in=12345))
    assert plan.workers[0].bind == bind
    assert plan.nodes[0].replicas == (ReplicaPlan("executor0/rep-0"),)  # found when its process reports it
    gateway = plan_flow(flow(host=host, port=12345)).gateway
    assert gateway is not None and gateway.bind == bind


@pytest.fixture
def folder(tmp_path: Path) -> str:
    keys.create(tmp_path / "keys", new_identity())
    return str(tmp_path / "keys")


def test_keys_let_an_executor_bind_any_address(folder: str) -> None:
    plan = plan_flow(flow(host="0.0.0.0", keys=folder).add(uses=Given, host="10.0.0.5", port_in=12345).add(uses=Given))
    assert plan.gateway is not None
    assert (plan.gateway.bind, plan.gateway.keys, plan.gateway.identity) == ("tcp://0.0.0.0:0", folder, folder)
    assert [(worker.bind, worker.keys) for worker in plan.workers] == [("tcp://10.0.0.5:12345", folder), (None, folder)]
    assert {replica.server_key for node in plan.nodes for replica in node.replicas} == {keys.load(folder).public}
    alone = plan_standalone(ExecutorSpec.from_options(host="0.0.0.0", port_in=1), keys=folder)
    assert (alone.bind, alone.keys) == ("tcp://0.0.0.0:1", folder)


def test_keys_that_cannot_be_used_are_told_before_anything_starts(folder: str) -> None:
    with pytest.raises(ConfigError, match="has no keys; make them with `zflow keygen --keys"):
        plan_flow(flow(keys=f"{folder}-none"))
    Path(folder, "allowed").write_text("robot not-a-key\n")
    with pytest.raises(ConfigError, match=r"allowed:1: a public key has 40 characters"):
        plan_standalone(ExecutorSpec.from_options(), keys=folder)


def test_an_external_executor_on_another_host_has_a_server_key_or_a_word(folder: str, monkeypatch) -> None:
    far = {"name": "far", "host": ["a.example:1", "b.example:2"], "external": True}
    with pytest.raises(ConfigError, match=r"far: a.example:1 is not on this host.*server_key.*insecure=True"):
        plan_flow(flow().add(**far))
    one, two = new_identity().public, new_identity().public
    for given, known in ((one, [one, one]), ([one, two], [one, two])):
        plan = plan_flow(flow(keys=folder).add(**far, server_key=given))
        assert [replica.server_key for replica in plan.nodes[0].replicas] == known
    monkeypatch.setattr(keys, "default_folder", lambda: folder)
    plan = plan_flow(flow().add(**far, server_key=one))
    assert plan.gateway is not None
    assert (plan.identity, plan.gateway.keys) == (folder, "")  # it calls with keys, and demands none


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "example.com", "127.0.0.1.example.com"])
def test_another_address_is_bound_only_when_that_is_said(host: str) -> None:
    with pytest.raises(ConfigError, match=r"executor0: binding .*keygen.*insecure=True .*external=True"):
        plan_flow(flow().add(uses=Given, host=host, port_in=12345))
    with pytest.raises(ConfigError, match=r"gateway: binding .*loopback address .*insecure=True"):
        plan_flow(flow(host=host))
    plan = plan_flow(flow(host=host, port=1, insecure=True).add(uses=Given, host=host, port_in=12345))
    shown = f"[{host}]" if ":" in host else host
    assert plan.workers[0].bind == f"tcp://{shown}:12345"
    assert plan.gateway is not None and plan.gateway.bind == f"tcp://{shown}:1"


def test_a_host_that_nothing_binds_is_refused() -> None:
    with pytest.raises(ConfigError, match="executor0: host '10.0.0.5' without port_in says nothing"):
        plan_flow(flow(insecure=True).add(uses=Given, host="10.0.0.5"))


def test_times_are_seconds_and_for_ever_is_none() -> None:
    plan = plan_flow(flow(timeout_ready=-1).add(uses=Given, timeout_ready=1500, timeout_send=250).add(timeout_send=-1))
    assert plan.workers[0].timeout_ready == 1.5
    assert plan.nodes[0].timeout_send == 0.25
    assert plan.workers[1].timeout_ready is None
    assert plan.nodes[1].timeout_send is None
    assert plan.gateway is not None and plan.gateway.timeout_ready is None


def test_delivery_options_reach_the_head_and_the_worker() -> None:
    options = {"retries": 0, "idempotent": True, "queue_bytes": 1000}
    plan = plan_flow(flow().add(uses=Given, quiet_error=True, **options).add())
    assert {name: getattr(plan.nodes[0], name) for name in options} == options
    assert plan.nodes[1].queue_bytes is None
    assert (plan.workers[0].idempotent, plan.workers[0].voice.quiet_error) == (True, True)


def test_what_the_flow_says_reaches_its_processes() -> None:
    plan = plan_flow(flow(env={"A": "1", "B": "1"}, start_method="spawn").add(env={"B": "2"}).add(start_method="warm"))
    assert [worker.env for worker in plan.workers] == [{"A": "1", "B": "2"}, {"A": "1", "B": "1"}]
    assert [worker.start_method for worker in plan.workers] == ["spawn", "warm"]
    assert plan.gateway is not None
    assert (plan.gateway.env, plan.gateway.start_method) == ({"A": "1", "B": "1"}, "spawn")


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LD_PRELOAD", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
def test_variables_that_are_read_at_birth_need_a_fresh_interpreter(name: str) -> None:
    plan = plan_flow(flow().add(env={name: "1"}).add(env={"CUDA_VISIBLE_DEVICES": "0"}))
    assert [worker.start_method for worker in plan.workers] == ["spawn", "warm"]


def test_an_empty_flow_is_a_gateway() -> None:
    plan = plan_flow(flow())
    assert plan.workers == plan.nodes == ()
    assert plan.gateway is not None and plan.topology.last == "gateway"


def test_faults_name_the_executor() -> None:
    with pytest.raises(ConfigError, match=r"^encoder: no Executor class 'Givn' is known: did you mean 'Given'"):
        plan_flow(flow().add(uses="Givn", name="encoder"))
    with pytest.raises(TopologyError, match="needs 'nobody'"):
        plan_flow(flow().add(uses=Given, needs="nobody"))


def test_a_standalone_executor_is_planned_alone() -> None:
    worker = plan_standalone(ExecutorSpec.from_options(uses=Given, port_in=12345))
    assert (worker.name, worker.node, worker.bind) == ("Given/rep-0", "Given", "tcp://127.0.0.1:12345")
    assert worker.description.target is Given
    named = plan_standalone(ExecutorSpec.from_options(uses=Given, name="mine"))
    assert (named.name, named.bind) == ("mine/rep-0", "tcp://127.0.0.1:0")
    with pytest.raises(ConfigError, match="Given: binding .*insecure"):
        plan_standalone(ExecutorSpec.from_options(uses=Given, host="0.0.0.0"))
    assert (
        plan_standalone(ExecutorSpec.from_options(host="0.0.0.0", port_in=1), insecure=True).bind == "tcp://0.0.0.0:1"
    )
    for several in ({"replicas": 2}, {"shards": 2}, {"uses_after": Other}):
        with pytest.raises(ConfigError, match="^replicas, shards: .*several are a Deployment"):
            plan_standalone(ExecutorSpec.from_options(uses=Given, **several))
    with pytest.raises(ConfigError, match="^retries: nothing stands before the one process"):
        plan_standalone(ExecutorSpec.from_options(uses=Given, retries=2))
    with pytest.raises(ConfigError, match="^external: .*for a Flow"):
        plan_standalone(ExecutorSpec.from_options(external=True, host="h", port_in=1))


def test_a_deployment_is_the_processes_of_one_executor_and_a_head_before_them() -> None:
    plan = plan_deployment(DeploymentSpec.from_options(uses=Given, shards=2, replicas=2, port=12345, timeout_send=500))
    links = [f"Given/shard-{shard}/rep-{replica}" for shard in (0, 1) for replica in (0, 1)]
    assert [worker.name for worker in plan.workers] == links
    assert {(worker.node, worker.bind) for worker in plan.workers} == {("Given", None)}
    head = plan.gateway
    assert isinstance(head, HeadPlan)
    assert (head.name, head.bind, head.node) == ("Given/head", "tcp://127.0.0.1:12345", plan.nodes[0])
    assert [replica.link for replica in head.node.replicas] == links
    assert head.node.timeout_send == 0.5 and head.node.sharding is not None
    assert plan.topology == Topology([Node("Given", ("gateway",))])
    arrived = cloudpickle.loads(cloudpickle.dumps(plan))
    assert isinstance(arrived, Plan) and arrived == plan


def test_a_deployment_binds_what_it_was_told_to() -> None:
    def bind(**options: Any) -> str:
        head = plan_deployment(DeploymentSpec.from_options(uses=Given, name="mine", **options)).gateway
        assert head is not None
        return head.bind

    assert bind() == "tcp://127.0.0.1:0"
    assert bind(port_in=5) == bind(port=5) == "tcp://127.0.0.1:5"
    assert bind(host="0.0.0.0", port=5, insecure=True) == "tcp://0.0.0.0:5"
    with pytest.raises(ConfigError, match="mine: binding 0.0.0.0"):
        bind(host="0.0.0.0", port=5)


def test_a_gateway_alone_starts_nobody() -> None:
    spec = flow(port=1, insecure=True).add(external=True, host="h", port_in=1, name="far")
    assert plan_gateway(spec) == plan_flow(spec).gateway
    with pytest.raises(ConfigError, match="give executor1 host"):
        plan_gateway(spec.add(uses=Given))


def test_a_plan_travels() -> None:
    spec = flow(insecure=True).add(uses=Given, replicas=2, shards=2, uses_after=Other)
    plan = plan_flow(spec.add(host="h", port_in=1, external=True))
    arrived = cloudpickle.loads(cloudpickle.dumps(plan))
    assert isinstance(arrived, Plan) and arrived == plan


def test_who_is_reloaded_tells_its_files_and_a_class_that_cannot_be_is_refused() -> None:
    class Inner(Executor): ...

    plan = plan_flow(flow(reload=True).add(uses=Given).add(uses=Other, reload=False))
    assert [worker.reload for worker in plan.workers] == [True, False]
    with pytest.raises(ConfigError, match="^mine: reload: .*Inner of .* cannot be read again"):
        plan_flow(flow().add(uses=Inner, name="mine", reload=True))


@pytest.mark.parametrize("option", ["reload", "restart"])
def test_who_has_keys_and_a_port_cannot_be_renewed_and_that_is_told_before_it_starts(folder: str, option: str) -> None:
    with pytest.raises(ConfigError, match="^mine: reload and restart cannot renew .*port of its own; leave port_in"):
        plan_flow(flow(keys=folder).add(uses=Given, name="mine", port_in=1, **{option: True}))
    plan_flow(flow(keys=folder).add(uses=Given, **{option: True}))


def test_the_processes_of_one_executor_whatever_the_others_are_like(tmp_path: Path) -> None:
    spec = flow().add(uses=str(tmp_path / "missing.yml"), name="a").add(uses=Given, name="b", replicas=2)
    assert [worker.name for worker in plan_workers(spec, "b")] == ["b/rep-0", "b/rep-1"]
    with pytest.raises(ConfigError, match="^a: "):
        plan_flow(spec)


def test_an_image_is_served_by_containers_that_processes_attend_to() -> None:
    spec = flow(reload=True).add(name="a", uses="docker://me/a:1", replicas=2, env={"PYTHONPATH": "x"})
    first, second = plan_flow(spec).workers
    assert first.container == second.container and first.container is not None
    assert (first.container.image, first.start_method, first.reload) == ("me/a:1", "warm", False)
    around = flow().add(name="b", uses=Executor, uses_before="docker://me/b:1", shards=2, polling="ALL")
    assert [worker.container is not None for worker in plan_flow(around).workers] == [False, False, True]


def test_an_image_that_stands_alone_is_a_deployment_and_called_by_its_own_name() -> None:
    planned = plan_deployment(DeploymentSpec.from_options(uses="docker://me/my-encoder:1", port_in=5))
    assert planned.workers[0].name == "my_encoder/rep-0"
    assert planned.gateway is not None and planned.gateway.bind == "tcp://127.0.0.1:5"
    with pytest.raises(ConfigError, match="make it a Deployment"):
        plan_standalone(ExecutorSpec.from_options(uses="docker://me/my-encoder:1"))


def test_a_deployment_may_keep_the_name_that_its_class_had() -> None:
    plan = plan_deployment(DeploymentSpec.from_options(uses=Given), "Before")
    assert [worker.name for worker in plan.workers] == ["Before/rep-0"]
    assert plan_deployment(DeploymentSpec.from_options(uses=Given, name="mine"), "Before").nodes[0].name == "mine"


# -- processes that somebody else starts -----------------------------------------------------------------------------

PEERS = {
    "encoder": "encoder:8080",
    "indexer/shard-0": "indexer-0:8080",
    "indexer/shard-1": ["indexer-1:8080", "spare:8080"],
    "indexer/uses-after": "ranker:8080",
}


def elsewhere(**options: Any) -> FlowSpec:
    started = flow(insecure=True, peers=PEERS, **options)
    return started.add(name="encoder", uses="Nobody").add(name="indexer", uses="Nobody", shards=2, uses_after="Nobody")


def test_a_gateway_alone_asks_its_peers_and_looks_for_no_class() -> None:
    first, second = plan_gateway(elsewhere()).nodes
    assert first.replicas == (ReplicaPlan("encoder/rep-0", "tcp://encoder:8080"),)
    assert second.replicas == (
        ReplicaPlan("indexer/shard-0/rep-0", "tcp://indexer-0:8080", 0),
        ReplicaPlan("indexer/shard-1/rep-0", "tcp://indexer-1:8080", 1),
        ReplicaPlan("indexer/shard-1/rep-1", "tcp://spare:8080", 1),
    )
    after = ReplicaPlan("indexer/uses-after/rep-0", "tcp://ranker:8080")
    assert second.sharding is not None
    assert second.sharding.around == (after,)
    assert second.ways == (*second.replicas, after)


def test_a_gateway_alone_names_the_peers_that_it_wants() -> None:
    with pytest.raises(ConfigError, match="give indexer/shard-0, indexer/shard-1 host, port_in and external"):
        plan_gateway(flow(peers={"encoder": "127.0.0.1:1"}).add(name="encoder").add(name="indexer", shards=2))


def test_a_flow_that_starts_its_processes_has_no_peers() -> None:
    with pytest.raises(ConfigError, match="use `zflow gateway`"):
        plan_flow(elsewhere())


def test_peers_on_other_hosts_need_keys() -> None:
    with pytest.raises(ConfigError, match="encoder: encoder:8080 is not on this host"):
        plan_gateway(flow(peers={"encoder": "encoder:8080"}).add(name="encoder"))


def test_peers_have_the_keys_of_their_front(tmp_path: Path) -> None:
    own = new_identity()
    keys.create(tmp_path / "keys", own)
    [node] = plan_gateway(flow(keys=tmp_path / "keys", peers={"a": "a:1"}).add(name="a")).nodes
    assert node.replicas == (ReplicaPlan("a/rep-0", "tcp://a:1", server_key=own.public),)


def alone(**options: Any) -> DeploymentSpec:
    return DeploymentSpec.from_options(**{"name": "indexer", "insecure": True, **options})


def test_a_head_alone_asks_its_peers() -> None:
    plan = plan_head(alone(replicas=2, port=5, peers={"indexer": "indexer:8080"}))
    assert (plan.name, plan.bind, plan.identity) == ("indexer/head", "tcp://127.0.0.1:5", "")
    assert plan.node.replicas == (ReplicaPlan("indexer/rep-0", "tcp://indexer:8080"),)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shards": 2, "peers": {"indexer/shard-1": "x:1"}}, "say in peers where indexer/shard-0 can be found"),
        ({"peers": {"encoder": "x:1"}}, "peers: nothing here is called 'encoder'"),
    ],
)
def test_a_head_alone_says_what_it_wants(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_head(alone(**options))


def test_a_head_alone_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="name: a head alone imports no class"):
        plan_head(DeploymentSpec.from_options(peers={"indexer": "127.0.0.1:1"}))


def test_a_deployment_that_starts_its_processes_has_no_peers() -> None:
    with pytest.raises(ConfigError, match="use `zflow head`"):
        plan_deployment(alone(peers={"indexer": "x:1"}))


def test_one_shard_alone_knows_which_it_is() -> None:
    plan = plan_standalone(ExecutorSpec.from_options(name="indexer", uses=Given, shards=3), shard_id=2)
    assert plan.name == "indexer/shard-2/rep-0"
    assert (plan.runtime_args["shards"], plan.runtime_args["shard_id"]) == (3, 2)


@pytest.mark.parametrize(
    ("options", "shard_id", "told"),
    [
        ({"shards": 2}, 2, "there is no shard 2 of 2"),
        ({}, -1, "there is no shard -1 of 1"),
        ({"shards": 2, "replicas": 2}, 0, "replicas: with shard_id this is one process"),
        ({"shards": 2, "uses_before": Other}, 0, "uses_before: with shard_id"),
        ({"shards": 2, "reload": True}, 0, "reload: with shard_id"),
    ],
)
def test_one_shard_alone_is_one_process(options: dict[str, Any], shard_id: int, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        plan_standalone(ExecutorSpec.from_options(uses=Given, **options), shard_id=shard_id)
