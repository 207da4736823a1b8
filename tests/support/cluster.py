"""A cluster as far as kubectl looks before it sends anything: which kinds there are, and that there are no objects yet.

The kinds of a version are those of which kubernetes-validate has the schema. Nothing is ever accepted.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import kubernetes_validate

_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
_KINDS = {  # by apiVersion: the plural of what could be there, by kind
    "v1": {"Namespace": "namespaces", "Service": "services", "ConfigMap": "configmaps", "Secret": "secrets"},
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies"},
}


class Cluster(NamedTuple):
    """address: of its server. heard: the method and path of each request."""

    address: str
    heard: list[str]


@contextmanager
def cluster(version: str) -> Iterator[Cluster]:
    """One of that version of Kubernetes, on loopback."""
    heard: list[str] = []
    documents = {path: json.dumps(document).encode() for path, document in _discovery(version).items()}

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(f"{self.command} {self.path}")
            document = documents.get(self.path.partition("?")[0])
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self.send_response(404 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(document or json.dumps(missing).encode())

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Cluster(f"http://127.0.0.1:{server.server_port}", heard)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _discovery(version: str) -> dict[str, dict[str, Any]]:
    """What is told at which path."""
    known = {path.stem for path in (_SCHEMAS / f"v{version}-local-strict").iterdir()}
    documents: dict[str, dict[str, Any]] = {"/api": {"kind": "APIVersions", "versions": ["v1"]}}
    groups = []
    for api, kinds in _KINDS.items():
        group, _, number = api.rpartition("/")
        there = [kind for kind in kinds if "-".join(filter(None, (kind.lower(), group.split(".")[0], number))) in known]
        documents[f"/apis/{api}" if group else f"/api/{api}"] = {
            "kind": "APIResourceList",
            "groupVersion": api,
            "resources": [_resource(kind, kinds[kind]) for kind in there],
        }
        if group and there:
            version_of_it = {"groupVersion": api, "version": number}
            groups.append({"name": group, "versions": [version_of_it], "preferredVersion": version_of_it})
    documents["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    return documents


def _resource(kind: str, plural: str) -> dict[str, Any]:
    verbs = ["create", "delete", "get", "list", "patch", "update"]
    return {
        "name": plural,
        "singularName": kind.lower(),
        "namespaced": kind != "Namespace",
        "kind": kind,
        "verbs": verbs,
    }
