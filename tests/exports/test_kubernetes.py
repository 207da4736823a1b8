"""A Flow as manifests of Kubernetes: valid in several versions of it, as strict as it can be, and stable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import all_versions

from tests.exports.shapes import IMAGES, SHAPES, application_of, around, one, row, safe, shards
from zflow.config.deployment import DeploymentSpec
from zflow.config.plain_yaml import dump
from zflow.errors import ConfigError
from zflow.exports.kubernetes import KubernetesWishes, escaped, kubernetes_manifests, kubernetes_notes
from zflow.exports.parts import parts_of_deployment

EXPECTED = Path(__file__).parent / "expected"
KNOWN = list(dict.fromkeys(all_versions()))
VERSIONS = [KNOWN[-1], KNOWN[-5], KNOWN[0]]  # the newest, one that is in use, the oldest that the validator knows
WISHES = KubernetesWishes(
    namespace="search",
    gpus={"encoder": 1, "store": 1},
    memory={"encoder": "2Gi"},
    max_replicas={"encoder": 6, "my_indexer": 4},
)


def manifests(shape: Any, folder: Path, wishes: KubernetesWishes = WISHES) -> dict[str, dict[str, Any]]:
    return kubernetes_manifests(application_of(shape, folder), wishes)


def workloads(shape: Any, folder: Path, wishes: KubernetesWishes = WISHES) -> dict[str, dict[str, Any]]:
    made = manifests(shape, folder, wishes).values()
    return {each["metadata"]["name"]: each for each in made if each["kind"] in ("Deployment", "StatefulSet")}


def container(workload: dict[str, Any]) -> dict[str, Any]:
    [found] = workload["spec"]["template"]["spec"]["containers"]
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_manifest_is_valid(shape: Any, version: str, tmp_path: Path) -> None:
    for name, manifest in manifests(shape, tmp_path).items():
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise AssertionError(f"{name}: {'.'.join(map(str, error.path))}: {error.message}") from None


def test_a_wrong_manifest_would_be_noticed(tmp_path: Path) -> None:
    [manifest, *_] = workloads(one, tmp_path).values()
    manifest["spec"]["strategie"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_a_small_flow_is_this_text(tmp_path: Path) -> None:
    made = manifests(one, tmp_path, KubernetesWishes())
    text = "".join(f"--- # {name}\n{dump(manifest)}" for name, manifest in made.items())
    assert text == (EXPECTED / "kubernetes.yml").read_text()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_flow_is_the_same_text(shape: Any, tmp_path: Path) -> None:
    texts = [{name: dump(each) for name, each in manifests(shape, tmp_path).items()} for _ in range(2)]
    assert texts[0] == texts[1]
    assert {name: yaml.safe_load(text) for name, text in texts[0].items()} == manifests(shape, tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pod_is_restricted(shape: Any, tmp_path: Path) -> None:
    for workload in workloads(shape, tmp_path).values():
        pod = workload["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(workload)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize("shape", SHAPES)
def test_probes_start_nothing_and_a_pod_that_leaves_is_let_finish(shape: Any, tmp_path: Path) -> None:
    for workload in workloads(shape, tmp_path).values():
        made = container(workload)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert made[probe]["tcpSocket"] == {"port": "zmq"}
        leaving = int(made["lifecycle"]["preStop"]["exec"]["command"][-1])
        assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= leaving + 25 + 5


@pytest.mark.parametrize("shape", SHAPES)
def test_names_of_executors_have_the_addresses_of_all_their_pods(shape: Any, tmp_path: Path) -> None:
    made = manifests(shape, tmp_path)
    services = {each["metadata"]["name"]: each["spec"] for each in made.values() if each["kind"] == "Service"}
    assert set(services) == set(workloads(shape, tmp_path))
    for name, spec in services.items():
        assert (spec.get("clusterIP") == "None") is (name != "gateway")
        labels = workloads(shape, tmp_path)[name]["spec"]["template"]["metadata"]["labels"]
        assert spec["selector"].items() <= labels.items()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_objects_refer_to_is_there(shape: Any, tmp_path: Path) -> None:
    """No schema knows that a selector selects, that a port has that name, or that a volume is one of the pod's."""
    made = list(manifests(shape, tmp_path).values())
    pods = {name: each["spec"]["template"] for name, each in workloads(shape, tmp_path).items()}
    services = {each["metadata"]["name"] for each in made if each["kind"] == "Service"}
    maps = {each["metadata"]["name"] for each in made if each["kind"] == "ConfigMap"}
    for each in made:
        selector = each.get("spec", {}).get("selector") or each.get("spec", {}).get("podSelector")
        if selector is not None:
            labels = selector.get("matchLabels", selector)
            selected = [name for name, pod in pods.items() if labels.items() <= pod["metadata"]["labels"].items()]
            assert selected == [each["metadata"]["name"]]
        if each["kind"] == "HorizontalPodAutoscaler":
            assert each["spec"]["scaleTargetRef"]["name"] in pods
        if each["kind"] == "StatefulSet":
            assert each["spec"]["serviceName"] in services
    for workload in workloads(shape, tmp_path).values():
        pod, its = workload["spec"]["template"]["spec"], container(workload)
        claims = [claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", ())]
        volumes = [volume["name"] for volume in pod["volumes"]] + claims
        assert len(set(volumes)) == len(volumes)
        assert {mount["name"] for mount in its["volumeMounts"]} == set(volumes)
        assert {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume} <= maps
        ports = {port["name"] for port in its["ports"]}
        probes = [its[f"{kind}Probe"]["tcpSocket"]["port"] for kind in ("startup", "readiness", "liveness")]
        assert set(probes) <= ports
    for each in made:
        if each["kind"] == "Service":
            assert all(port["targetPort"] == "zmq" for port in each["spec"]["ports"])


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_gateway_may_call_executors(shape: Any, tmp_path: Path) -> None:
    policies = [each for each in manifests(shape, tmp_path).values() if each["kind"] == "NetworkPolicy"]
    front = workloads(shape, tmp_path)["gateway"]["spec"]["template"]["metadata"]["labels"]
    assert {each["metadata"]["name"] for each in policies} == set(workloads(shape, tmp_path)) - {"gateway"}
    for policy in policies:
        [rule] = policy["spec"]["ingress"]
        [caller] = rule["from"]
        assert caller["podSelector"]["matchLabels"].items() <= front.items()
    without = manifests(shape, tmp_path, WISHES._replace(network_policy=False))
    assert not any(each["kind"] == "NetworkPolicy" for each in without.values())


def test_an_executor_with_data_keeps_it(tmp_path: Path) -> None:
    made = workloads(shards, tmp_path)
    assert {name: each["kind"] for name, each in made.items()} == {
        "my-indexer-shard-0": "StatefulSet",
        "my-indexer-shard-1": "StatefulSet",
        "my-indexer-before": "Deployment",
        "my-indexer-after": "Deployment",
        "gateway": "Deployment",
    }
    spec = made["my-indexer-shard-0"]["spec"]
    assert "strategy" not in spec
    assert spec["serviceName"] == "my-indexer-shard-0"
    assert spec["volumeClaimTemplates"][0]["spec"]["resources"] == {"requests": {"storage": "1Gi"}}


def test_what_is_scaled_by_load_has_no_number_of_its_own(tmp_path: Path) -> None:
    made = manifests(row, tmp_path)
    assert "replicas" not in made["encoder/deployment.yml"]["spec"]
    assert made["ranker/deployment.yml"]["spec"]["replicas"] == 1
    scaler = made["encoder/horizontalpodautoscaler.yml"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 6)
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "encoder"}
    assert made["encoder/poddisruptionbudget.yml"]["spec"]["maxUnavailable"] == 1
    assert "ranker/poddisruptionbudget.yml" not in made


def test_variables_are_not_put_in_and_secrets_not_written(tmp_path: Path) -> None:
    made = manifests(row, tmp_path)
    assert "s3cr3t-value" not in "".join(map(dump, made.values()))
    env = {each["name"]: each for each in container(workloads(row, tmp_path)["ranker"])["env"]}
    assert env["API_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "row-secrets", "key": "API_TOKEN"}}
    assert env["MODE"]["value"] == "a$b %h"
    [arguments] = [word for word in container(workloads(row, tmp_path)["encoder"])["args"] if "model" in word]
    assert "$$(HOME)" in arguments
    assert escaped("$(A) $B") == "$$(A) $B"


def test_keys_are_a_secret_that_no_file_holds(tmp_path: Path) -> None:
    text = "".join(map(dump, manifests(safe, tmp_path).values()))
    secret = (tmp_path / "keys" / "secret.key").read_text().rpartition("secret:")[2].strip()
    assert secret not in text
    for workload in workloads(safe, tmp_path).values():
        volumes = {each["name"]: each for each in workload["spec"]["template"]["spec"]["volumes"]}
        assert volumes["keys"]["secret"] == {"secretName": "zflow-keys", "defaultMode": 0o400}
        assert "--insecure" not in container(workload)["args"]
    notes = kubernetes_notes(application_of(safe, tmp_path), WISHES)
    assert "kubectl create secret generic zflow-keys --namespace search --from-file=secret.key=KEYS/secret.key" in notes


def test_notes_name_what_is_missing(tmp_path: Path) -> None:
    notes = kubernetes_notes(application_of(row, tmp_path), WISHES)
    assert '--from-literal=API_TOKEN="$API_TOKEN"' in notes
    assert "There are no keys" in notes
    assert "kubectl apply -R -f ." in notes


def test_another_flow_makes_other_pods_of_the_gateway(tmp_path: Path) -> None:
    def annotation(shape: Any) -> str:
        return str(workloads(shape, tmp_path)["gateway"]["spec"]["template"]["metadata"]["annotations"])

    assert annotation(one) == annotation(one) != annotation(around)


def test_resources_are_asked_for(tmp_path: Path) -> None:
    assert container(workloads(one, tmp_path)["encoder"])["resources"] == {
        "requests": {"cpu": "100m", "memory": "2Gi"},
        "limits": {"memory": "2Gi", "nvidia.com/gpu": "1"},
    }
    spec = DeploymentSpec.from_options(name="x", uses="docker://x", cpus=[0, 1])
    with pytest.raises(ConfigError, match="pods are given a number of cores"):
        kubernetes_manifests(parts_of_deployment(spec, IMAGES), WISHES)


def test_what_a_container_is_given_here_a_pod_is_given_as_far_as_it_can_be(tmp_path: Path) -> None:
    def made(**options: Any) -> dict[str, dict[str, Any]]:
        spec = DeploymentSpec.from_options(name="x", uses="docker://x", replicas=2, **options)
        return kubernetes_manifests(parts_of_deployment(spec, IMAGES), KubernetesWishes())

    manifests = made(gpus="2", entrypoint="python -m zflow")
    its, head = container(manifests["x/deployment.yml"]), container(manifests["x-head/deployment.yml"])
    assert its["command"] == ["python", "-m", "zflow"]
    assert its["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert (head["command"], "limits" in head["resources"]) == (["zflow"], False)
    with pytest.raises(ConfigError, match="x: gpus=all: pods are given a number of GPUs"):
        made(gpus="all")
    with pytest.raises(ConfigError, match="x: volumes: .* is on no node of a cluster"):
        made(volumes=str(tmp_path))
    with pytest.raises(ConfigError, match="x: docker_kwargs is for containers that zflow starts itself"):
        made(docker_kwargs={"network": "bridge"})


@pytest.mark.parametrize("options", [{}, {"shards": 2}])
def test_one_executor_alone_is_valid_too(options: dict[str, Any]) -> None:
    spec = DeploymentSpec.from_options(name="x", uses="docker://x", port=9000, **options)
    made = kubernetes_manifests(parts_of_deployment(spec, IMAGES), WISHES)
    for manifest in made.values():
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)
    entrance = made["x-head/service.yml" if options else "x/service.yml"]["spec"]
    assert entrance["ports"][0]["port"] == 9000


def test_the_page_says_what_each_object_is_for(tmp_path: Path) -> None:
    kinds = {each["kind"] for shape in SHAPES for each in manifests(shape, tmp_path).values()}
    page = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
    told = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|")}
    assert kinds == told - {"Object", "---"}
