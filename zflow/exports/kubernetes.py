"""Parts -> manifests of Kubernetes, as dicts, by the name of their file.

Each part is a Deployment, or a StatefulSet where it keeps data, behind a headless Service: its name has the addresses
of all pods that are ready, and the gateway balances over them itself. Probes only connect: nothing is started in the
container, and a worker that is busy answers them all the same. Secrets are named, never written.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from zflow.config.cores import THREAD_LIMITS
from zflow.config.keys import ALLOWED, SECRET
from zflow.errors import ConfigError
from zflow.exports.parts import (
    GRACE,
    WORKER,
    WORKSPACE,
    Application,
    Part,
    binding_words,
    check_reachable,
    front_words,
)
from zflow.exports.secrets import variables_of

USER = 65532
_KEYS, _CONFIG = "/etc/zflow/keys", "/etc/zflow/config"
_LEAVING = 2  # seconds in which others hear that a pod is leaving, before it is told itself
_PROBE = 2  # seconds between two looks whether it has started
_FOR_EVER = 86_400
Manifest = dict[str, Any]


class KubernetesWishes(NamedTuple):
    """namespace: empty for the one that kubectl is set to. gpus, cpu, memory: of each pod of an Executor. storage: of
    each pod that keeps data. shm_size: of /dev/shm. max_replicas: up to which an Executor is scaled by its load.
    network_policy: only the front may call Executors. secrets: the Secret of variables that are not exported; keys: of
    the keys."""

    namespace: str = ""
    gpus: Mapping[str, int] = {}
    cpu: Mapping[str, str] = {}
    memory: Mapping[str, str] = {}
    storage: str = "1Gi"
    shm_size: str = "64Mi"
    max_replicas: Mapping[str, int] = {}
    network_policy: bool = True
    secrets: str = ""
    keys: str = "zflow-keys"


def kubernetes_manifests(application: Application, wishes: KubernetesWishes) -> dict[str, Manifest]:
    """File name -> manifest, in the order in which kubectl takes them. Raises ConfigError for what pods cannot have."""
    check_reachable(application)
    files: dict[str, Manifest] = {}
    if wishes.namespace:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        files["00-namespace.yml"] = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": wishes.namespace, "labels": labels},
        }
    for part in application.parts:
        for manifest in _manifests(part, application, wishes):
            if wishes.namespace:
                metadata = manifest["metadata"]
                manifest["metadata"] = {"name": metadata["name"], "namespace": wishes.namespace, **metadata}
            files[f"{part.name}/{manifest['kind'].lower()}.yml"] = manifest
    return files


def kubernetes_notes(application: Application, wishes: KubernetesWishes) -> str:
    """What a person must do: the secrets that no file has, and the command."""
    where = f" --namespace {wishes.namespace}" if wishes.namespace else ""
    lines = ["Written by `zflow export kubernetes`. To have it run:", ""]
    if wishes.namespace:
        lines += ["    kubectl apply -f 00-namespace.yml"]
    if application.keys:
        files = " ".join(f"--from-file={name}=KEYS/{name}" for name in (SECRET, ALLOWED))
        lines += [f"    kubectl create secret generic {wishes.keys}{where} {files}"]
    names = sorted({name for part in application.parts for name in variables_of(part.env).secret})
    if names:
        literals = " ".join(f'--from-literal={name}="${name}"' for name in names)
        lines += [f"    kubectl create secret generic {_secret(application, wishes)}{where} {literals}"]
    lines += ["    kubectl apply -R -f .", ""]
    if application.keys:
        lines += ["KEYS is the folder that `zflow keygen` made.", ""]
    elif application.entrance is not None:
        lines += [
            f"There are no keys: every pod of the cluster may call {application.entrance.name}. To let in only whom",
            "you know, make keys (`zflow keygen`) and export again with --keys KEYS.",
            "",
        ]
    return "\n".join(lines)


# -- the objects of one part -----------------------------------------------------------------------------------------


def _manifests(part: Part, application: Application, wishes: KubernetesWishes) -> list[Manifest]:
    made = [_workload(part, application, wishes), _service(part, application)]
    if part is application.front:
        made.insert(0, _config_map(part, application))
    highest = wishes.max_replicas.get(part.node, 0)
    if highest and part.role == WORKER:
        made.append(_autoscaler(part, application, highest))
    if part.replicas > 1 or (highest and part.role == WORKER):
        spec = {"maxUnavailable": 1, "selector": {"matchLabels": _selector(part, application)}}
        made.append(_object("policy/v1", "PodDisruptionBudget", part, application, spec))
    if wishes.network_policy and application.front is not None and part.role == WORKER:
        made.append(_network_policy(part, application))
    return made


def _object(version: str, kind: str, part: Part, application: Application, spec: Manifest) -> Manifest:
    metadata = {"name": part.name, "labels": _labels(part, application)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _selector(part: Part, application: Application) -> dict[str, str]:
    return {"app.kubernetes.io/name": part.name, "app.kubernetes.io/part-of": application.name}


def _labels(part: Part, application: Application) -> dict[str, str]:
    return {**_selector(part, application), "app.kubernetes.io/component": part.role}


def _workload(part: Part, application: Application, wishes: KubernetesWishes) -> Manifest:
    spec: Manifest = {"replicas": part.replicas, "selector": {"matchLabels": _selector(part, application)}}
    if wishes.max_replicas.get(part.node) and part.role == WORKER:
        del spec["replicas"]  # the autoscaler's affair: applying the file again must not scale down
    annotations = {}
    if part is application.front:
        text = _config(application)[0]
        annotations["zflow/config"] = hashlib.sha256(text.encode()).hexdigest()[:16]  # another one makes other pods
    metadata = {"labels": _labels(part, application), **({"annotations": annotations} if annotations else {})}
    template = {"metadata": metadata, "spec": _pod(part, application, wishes)}
    if not part.keeps_data:
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        return _object("apps/v1", "Deployment", part, application, {**spec, "template": template})
    claim = {
        "metadata": {"name": "workspace"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": wishes.storage}}},
    }
    spec |= {"serviceName": part.name, "podManagementPolicy": "Parallel", "updateStrategy": {"type": "RollingUpdate"}}
    spec |= {"template": template, "volumeClaimTemplates": [claim]}
    return _object("apps/v1", "StatefulSet", part, application, spec)


def _pod(part: Part, application: Application, wishes: KubernetesWishes) -> Manifest:
    for volume in part.volumes:
        told = "a folder of this machine is on no node of a cluster; put it in the image, or have a workspace"
        raise ConfigError(f"{part.node}: volumes: {volume.source}: {told}")
    volumes: list[Manifest] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": wishes.shm_size}},
    ]
    if not part.keeps_data:
        volumes.append({"name": "workspace", "emptyDir": {}})
    if application.keys:
        volumes.append({"name": "keys", "secret": {"secretName": wishes.keys, "defaultMode": 0o400}})
    if part is application.front:
        volumes.append({"name": "config", "configMap": {"name": part.name}})
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE + _LEAVING + 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(part, application, wishes)],
        "volumes": volumes,
    }


def _container(part: Part, application: Application, wishes: KubernetesWishes) -> Manifest:
    mounts: list[Manifest] = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "workspace", "mountPath": WORKSPACE},
    ]
    if application.keys:
        mounts.append({"name": "keys", "mountPath": _KEYS, "readOnly": True})
    if part is application.front:
        mounts.append({"name": "config", "mountPath": _CONFIG, "readOnly": True})
    connects = {"tcpSocket": {"port": "zmq"}}
    start = _FOR_EVER if part.timeout_ready is None else part.timeout_ready
    return {
        "name": part.role,
        "image": part.image,
        "command": [escaped(word) for word in part.entrypoint],
        "args": [escaped(word) for word in _arguments(part, application)],
        "env": _environment(part, application, wishes),
        "ports": [{"name": "zmq", "containerPort": part.port, "protocol": "TCP"}],
        "startupProbe": {**connects, "periodSeconds": _PROBE, "failureThreshold": max(1, math.ceil(start / _PROBE))},
        "readinessProbe": {**connects, "periodSeconds": _PROBE, "failureThreshold": 2},
        "livenessProbe": {**connects, "periodSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_LEAVING)]}}},
        "resources": _resources(part, wishes),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": mounts,
    }


def escaped(text: str) -> str:
    """Kubernetes puts variables in for ``$(NAME)`` in commands and in values of variables."""
    return text.replace("$(", "$$(")


def _arguments(part: Part, application: Application) -> list[str]:
    words = list(part.words)
    if part is application.front:
        words += ["--uses", f"{_CONFIG}/{_config(application)[1]}"]
    if part.keeps_data:
        words += ["--workspace", WORKSPACE]
    return words + binding_words(application, part, _KEYS)


def _config(application: Application) -> tuple[str, str]:
    return front_words(application, {part.group: [f"{part.name}:{part.port}"] for part in application.workers})


def _config_map(part: Part, application: Application) -> Manifest:
    text, name = _config(application)
    metadata = {"name": part.name, "labels": _labels(part, application)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {name: text}}


def _environment(part: Part, application: Application, wishes: KubernetesWishes) -> list[Manifest]:
    variables = variables_of(part.env)
    given = {"ZFLOW_WORKSPACE": WORKSPACE, **{name: escaped(value) for name, value in variables.shown.items()}}
    if isinstance(part.cpus, int):
        given = {**dict.fromkeys(THREAD_LIMITS, str(part.cpus)), **given}
    secret = _secret(application, wishes)
    return [{"name": name, "value": value} for name, value in given.items()] + [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}} for name in variables.secret
    ]


def _secret(application: Application, wishes: KubernetesWishes) -> str:
    return wishes.secrets or f"{application.name}-secrets"


def _resources(part: Part, wishes: KubernetesWishes) -> Manifest:
    if isinstance(part.cpus, tuple):
        told = "pods are given a number of cores, no list of them"
        raise ConfigError(f"{part.node}: cpus={list(part.cpus)}: {told}; write how many, such as cpus=2")
    cpu = wishes.cpu.get(part.node) or (str(part.cpus) if part.cpus else "")
    memory, gpus = wishes.memory.get(part.node, ""), _gpus(part, wishes)
    limits = {
        **({"cpu": cpu} if cpu else {}),
        **({"memory": memory} if memory else {}),
        **({"nvidia.com/gpu": gpus} if gpus != "0" else {}),
    }
    requests = {"cpu": cpu or "100m", "memory": memory or "128Mi"}
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _gpus(part: Part, wishes: KubernetesWishes) -> str:
    gpus = str(wishes.gpus.get(part.node, part.gpus or 0)) if part.role == WORKER else "0"
    if not gpus.isdigit():
        told = "pods are given a number of GPUs; write how many, or give gpus (--gpus) to the export"
        raise ConfigError(f"{part.node}: gpus={gpus}: {told}")
    return gpus


def _service(part: Part, application: Application) -> Manifest:
    """Without an address of its own, so that its name has those of all pods; the entrance has one, for others."""
    is_entrance = part is application.entrance
    port = application.port if is_entrance else part.port
    ports = [{"name": "zmq", "port": port, "targetPort": "zmq", "protocol": "TCP"}]
    spec: Manifest = {"type": "ClusterIP", "selector": _selector(part, application), "ports": ports}
    if not is_entrance or part.role == WORKER:
        spec["clusterIP"] = "None"
        ports[0]["port"] = part.port  # nobody translates it there
    return _object("v1", "Service", part, application, spec)


def _autoscaler(part: Part, application: Application, highest: int) -> Manifest:
    kind = "StatefulSet" if part.keeps_data else "Deployment"
    usage = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": part.name},
        "minReplicas": part.replicas,
        "maxReplicas": max(highest, part.replicas),
        "metrics": [usage],
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", part, application, spec)


def _network_policy(part: Part, application: Application) -> Manifest:
    assert application.front is not None
    callers = [{"podSelector": {"matchLabels": _selector(application.front, application)}}]
    spec = {
        "podSelector": {"matchLabels": _selector(part, application)},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": callers, "ports": [{"protocol": "TCP", "port": part.port}]}],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", part, application, spec)
