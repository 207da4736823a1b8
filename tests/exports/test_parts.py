"""What an application is made of, and how its parts know each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exports.shapes import IMAGES, SHAPES, application_of, join, one, row, safe, shards
from zflow.config.deployment import DeploymentSpec, load_deployment
from zflow.config.plan import plan_gateway, plan_head
from zflow.config.spec import FlowSpec
from zflow.config.yaml_file import load_flow
from zflow.errors import ConfigError
from zflow.exports.parts import (
    GATEWAY,
    HEAD,
    binding_words,
    check_reachable,
    dns_name,
    front_words,
    parts_of_deployment,
    parts_of_flow,
)
from zflow.processes.lifeline import GRACE as DRAINS_WITHIN


def addresses(application):
    return {part.group: [f"{part.name}:{part.port}"] for part in application.workers}


def test_the_grace_is_that_of_the_processes():
    from zflow.exports.parts import GRACE

    assert GRACE == DRAINS_WITHIN


def test_each_shard_is_a_part_and_so_is_what_is_around_them(tmp_path: Path):
    application = application_of(shards, tmp_path)
    assert [(part.name, part.group, part.replicas, part.keeps_data) for part in application.parts] == [
        ("my-indexer-shard-0", "my_indexer/shard-0", 2, True),
        ("my-indexer-shard-1", "my_indexer/shard-1", 2, True),
        ("my-indexer-before", "my_indexer/uses-before", 1, False),
        ("my-indexer-after", "my_indexer/uses-after", 1, False),
        ("gateway", "gateway", 1, False),
    ]
    first = application.workers[0]
    assert first.words[-4:] == ("--shards", "2", "--shard-id", "0")
    assert first.timeout_ready is None
    assert application.workers[2].image == "me/before:1"


@pytest.mark.parametrize("shape", SHAPES)
def test_the_front_is_told_a_flow_that_its_gateway_understands(shape, tmp_path: Path):
    application = application_of(shape, tmp_path)
    text, name = front_words(application, addresses(application))
    assert name == "flow.yml"
    source = application.source
    assert isinstance(source, FlowSpec)
    told = load_flow(text).override(insecure=True, keys=source.keys or None)
    plan = plan_gateway(told)
    assert plan.topology == source.topology()
    ways = [way for node in plan.nodes for way in node.ways]
    hosts = {way.address for way in ways if not way.link.startswith("far/")}
    assert hosts == {f"tcp://{part.name}:{part.port}" for part in application.workers}
    assert all(way.address for way in ways)


def test_a_gateway_is_left_out_where_it_is_not_wanted():
    application = parts_of_flow(one(), IMAGES, include_gateway=False)
    assert [part.name for part in application.parts] == ["encoder"]
    assert application.entrance is None


def test_one_executor_alone_is_asked_itself_and_several_by_a_head():
    alone = parts_of_deployment(DeploymentSpec.from_options(uses="docker://me/My-Encoder:1".lower(), port=5), IMAGES)
    assert [(part.name, part.port) for part in alone.parts] == [("my-encoder", 5)]
    assert alone.entrance is alone.workers[0]
    several = parts_of_deployment(
        DeploymentSpec.from_options(name="indexer", uses="docker://x", shards=2, polling="ALL", insecure=True), IMAGES
    )
    assert [(part.name, part.role) for part in several.parts][-1] == ("indexer-head", HEAD)
    text, name = front_words(several, addresses(several))
    assert name == "deployment.yml"
    head = plan_head(load_deployment(text)._replace(front=FlowSpec.from_options(insecure=True, peers=_peers(several))))
    assert head.node.sharding is not None
    assert head.node.sharding.polling == {"*": "ALL"}


def _peers(application):
    return {part.group: [f"{part.name}:{part.port}"] for part in application.workers}


def test_who_has_no_keys_says_so(tmp_path: Path):
    application = application_of(one, tmp_path)
    worker, front = application.parts
    assert binding_words(application, worker, "/keys") == ["--host", "0.0.0.0", "--port-in", "8080", "--insecure"]
    assert binding_words(application, front, "/keys")[2] == "--port"
    assert front.role == GATEWAY
    application = application_of(safe, tmp_path)
    assert binding_words(application, application.parts[0], "/keys")[4:] == ["--keys", "/keys"]


def test_what_is_on_loopback_is_not_there_in_a_container():
    spec = FlowSpec.from_options().add(name="far", host="localhost", port_in=5, external=True)
    with pytest.raises(ConfigError, match="far: localhost:5: inside a container that is the container itself"):
        check_reachable(parts_of_flow(spec, IMAGES))
    key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    spec = FlowSpec.from_options().add(name="far", host="x", port_in=5, external=True, server_key=key)
    with pytest.raises(ConfigError, match="far: server_key: who asks it needs keys as well"):
        check_reachable(parts_of_flow(spec, IMAGES))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reload": True}, "encoder: reload is for development"),
        ({"restart": True}, "encoder: restart is for development"),
        ({"docker_kwargs": {"memory": "1g"}}, "encoder: docker_kwargs is for containers that zflow starts itself"),
        ({"env": {"CUDA_VISIBLE_DEVICES": "RR"}}, "devices are given to containers by their engine"),
    ],
)
def test_what_no_engine_can_do_is_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        parts_of_flow(FlowSpec.from_options().add(name="encoder", uses="docker://x", **options), IMAGES)


def test_names_are_those_that_dns_can_have():
    assert dns_name("My_Indexer") == "my-indexer"
    assert dns_name("_1x") == "x1x"
    with pytest.raises(ConfigError, match="at most 50 letters"):
        dns_name("x" * 60)
    with pytest.raises(ConfigError, match="no name for DNS"):
        dns_name("__")
    spec = FlowSpec.from_options().add(name="a_b", uses="docker://x").add(name="a__b", uses="docker://x")
    with pytest.raises(ConfigError, match="DNS knows no difference between a_b and a__b"):
        parts_of_flow(spec, IMAGES)


def test_options_of_the_graph_reach_the_front(tmp_path: Path):
    application = application_of(join, tmp_path)
    [*_, both, log] = load_flow(front_words(application, addresses(application))[0]).executors
    assert (both.needs, both.quorum, both.no_reduce, log.floating) == (("text", "image"), 1, True, True)
    assert application_of(row, tmp_path).workers[1].longest_call == 5.0


def test_what_is_said_of_logs_reaches_every_part(tmp_path: Path):
    (tmp_path / "logs.yml").write_text("level: DEBUG\n")
    flow = FlowSpec.from_options(log_config="json", quiet_error=True).add(uses="docker://x", name="a")
    flow = flow.add(uses="docker://x", name="b", log_config=tmp_path / "logs.yml", quiet=True)
    application = parts_of_flow(flow, IMAGES)
    first, second = (part.words for part in application.workers)
    assert first[first.index("--log-config") + 1] == '{"format": "json"}' and "--quiet-error" in first
    assert second[second.index("--log-config") + 1] == '{"level": "DEBUG"}' and "--quiet" in second
    told = load_flow(front_words(application, addresses(application))[0])
    assert (told.log_config, told.quiet_error, told.quiet) == ({"format": "json"}, True, False)


def test_a_log_file_that_would_go_with_its_container_is_refused():
    flow = FlowSpec.from_options().add(uses="docker://x", name="a", log_config={"file": "/logs/a.log"})
    with pytest.raises(ConfigError, match="a: log_config.file: /logs/a.log would be inside a container"):
        parts_of_flow(flow, IMAGES)
