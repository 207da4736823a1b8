"""Writes what `zflow.exports` makes: one file for Compose, a folder for Kubernetes or systemd. Same input, same bytes.

Options that only an engine knows are named and checked here; Flow, Deployment, Executor and the command line pass them
on. What a folder has from an earlier export and this one has no more is removed, so that no engine goes on with it.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from zflow.config.deployment import DeploymentSpec
from zflow.config.plain_yaml import dump
from zflow.config.spec import FlowSpec
from zflow.errors import ConfigError, nearest
from zflow.exports.compose import USER, ComposeWishes, compose_document
from zflow.exports.images import Images, checked_image
from zflow.exports.kubernetes import KubernetesWishes, kubernetes_manifests, notes
from zflow.exports.parts import Application, parts_of_deployment, parts_of_flow
from zflow.exports.systemd import FIRST_PORT, SystemdWishes, units
from zflow.version import __version__

Spec = FlowSpec | DeploymentSpec
PerExecutor = Mapping[str, Any] | str | int | None
Value = TypeVar("Value")

_MARK = "# Written by `zflow export"
_HEAD = _MARK + " {}`; changes made here are lost when it is written again.\n"
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def to_docker_compose(
    spec: Spec,
    output_path: str | Path = "docker-compose.yml",
    *,
    network_name: str | None = None,
    include_gateway: bool = True,
    image: PerExecutor = None,
    gateway_image: str | None = None,
    gpus: PerExecutor = None,
    shm_size: str = "64m",
    internal: bool = True,
    user: str | None = None,
    folder: str | Path | None = None,
) -> None:
    """Write a file for ``docker compose -f FILE up``. Raises ConfigError for what cannot be exported."""
    application = _application(spec, _images(image, gateway_image, folder), include_gateway)
    wishes = ComposeWishes(
        network=network_name or "",
        user=user or _owner(application.keys),
        gpus=_numbers("gpus", gpus, application),
        shm_size=shm_size,
        internal=internal,
    )
    text = _HEAD.format("docker-compose") + dump(compose_document(application, wishes))
    Path(output_path).write_text(text, encoding="utf-8")


def to_kubernetes(
    spec: Spec,
    output_base_path: str | Path,
    *,
    k8s_namespace: str | None = None,
    include_gateway: bool = True,
    image: PerExecutor = None,
    gateway_image: str | None = None,
    gpus: PerExecutor = None,
    cpu: PerExecutor = None,
    memory: PerExecutor = None,
    storage: str = "1Gi",
    shm_size: str = "64Mi",
    max_replicas: PerExecutor = None,
    network_policy: bool = True,
    env_secret: str | None = None,
    keys_secret: str = "zflow-keys",
    folder: str | Path | None = None,
) -> None:
    """Write a folder for ``kubectl apply -R -f FOLDER``. Raises ConfigError for what cannot be exported."""
    if k8s_namespace and not _NAMESPACE.fullmatch(k8s_namespace):
        raise ConfigError(f"k8s_namespace: {k8s_namespace!r:.80} is none; use lower case letters, digits and hyphens")
    application = _application(spec, _images(image, gateway_image, folder), include_gateway)
    wishes = KubernetesWishes(
        namespace=k8s_namespace or "",
        gpus=_numbers("gpus", gpus, application),
        cpu=_texts("cpu", cpu, application),
        memory=_texts("memory", memory, application),
        storage=storage,
        shm_size=shm_size,
        max_replicas=_numbers("max_replicas", max_replicas, application),
        network_policy=network_policy,
        secrets=env_secret or "",
        keys=keys_secret,
    )
    manifests = kubernetes_manifests(application, wishes)
    files = {name: _HEAD.format("kubernetes") + dump(manifest) for name, manifest in manifests.items()}
    files["NOTES.txt"] = notes(application, wishes)
    _write(Path(output_base_path), files)


def to_systemd(
    spec: Spec,
    output_base_path: str | Path,
    *,
    program: str | None = None,
    folder: str | Path | None = None,
    first_port: int = FIRST_PORT,
    config: str = "/etc/zflow",
    gpus: PerExecutor = None,
) -> None:
    """Write units for /etc/systemd/system, and the YAML that goes to `config`. Raises ConfigError."""
    found = program or shutil.which("zflow") or os.path.join(sys.prefix, "bin", "zflow")
    where = Path(folder or ".").absolute()
    application = _application(spec, Images("", {}, "", where, native=True), True)
    wishes = SystemdWishes(
        os.path.abspath(found), str(where), first_port, config, _numbers("gpus", gpus, application)
    )
    _write(Path(output_base_path), units(application, wishes))


def split_options(export: Callable[..., None], options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of `options` that `export` takes, and the others."""
    known = inspect.signature(export).parameters
    own = {name: value for name, value in options.items() if name in known}
    return own, {name: value for name, value in options.items() if name not in known}


def _application(spec: Spec, images: Images, include_gateway: bool) -> Application:
    if isinstance(spec, DeploymentSpec):
        return parts_of_deployment(spec, images)
    return parts_of_flow(spec, images, include_gateway=include_gateway)


def _images(image: PerExecutor, gateway_image: str | None, folder: str | Path | None) -> Images:
    by_name = dict(image) if isinstance(image, Mapping) else {}
    default = image if isinstance(image, str) else ""
    front = checked_image(gateway_image or default or f"zflow:{__version__}")
    return Images(default, by_name, front, Path(folder or ".").absolute())


def _each(name: str, given: PerExecutor, application: Application) -> dict[str, Any]:
    """What was given, by Executor: one value is for all of them."""
    nodes = list(dict.fromkeys(part.node for part in application.workers))
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return dict.fromkeys(nodes, given)
    for node in given:
        if node not in nodes:
            raise ConfigError(f"{name}: there is no Executor {node!r:.80} to start: {nearest(str(node), nodes)}")
    return dict(given)


def _numbers(name: str, given: PerExecutor, application: Application) -> dict[str, int]:
    values = _each(name, given, application)
    for node, value in values.items():
        if not str(value).isdigit():
            raise ConfigError(f"{name}: {node}: expected a whole number, got {value!r:.80}")
    return {node: int(value) for node, value in values.items()}


def _texts(name: str, given: PerExecutor, application: Application) -> dict[str, str]:
    return {node: str(value) for node, value in _each(name, given, application).items()}


def _owner(keys: str) -> str:
    """As whom containers run: who may read the keys, if that is not root."""
    if not keys:
        return USER
    try:
        about = os.stat(os.path.join(keys, "secret.key"))
    except OSError as error:
        raise ConfigError(f"{keys}: there are no keys to mount: {error.strerror}; see `zflow keygen`") from None
    if about.st_uid == 0:
        if about.st_mode & 0o040 and about.st_gid != 0:
            return f"{about.st_gid}:{about.st_gid}"
        told = f"{keys} belongs to root, as whom no container shall run"
        raise ConfigError(f"{told}; chown -R {USER} {keys}, or give user='UID:GID' (--user) of who may read it")
    return f"{about.st_uid}:{about.st_gid}"


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in sorted(folder.rglob("*")):
        known = path.suffix in (".yml", ".service", ".target") and path.is_file()
        if known and str(path.relative_to(folder)) not in files and path.read_bytes().startswith(_MARK.encode()):
            path.unlink()
