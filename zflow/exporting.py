"""Writes what `zflow.exports` makes: one file for Compose, a folder for Kubernetes or systemd. Same input, same bytes.

Options that only an engine knows are named and checked here; Flow, Deployment, Executor and the command line pass them
on. What a folder has from an earlier export and this one has no more is removed, so that no engine goes on with it.
Of options that may differ from Executor to Executor, one value is for all of them, and a map has their names.
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
from zflow.config.images import checked_image
from zflow.config.kinds import is_loopback
from zflow.config.options import options_of
from zflow.config.plain_yaml import dump
from zflow.config.spec import FlowSpec
from zflow.errors import ConfigError, nearest
from zflow.exports.compose import USER, ComposeWishes, compose_document
from zflow.exports.images import Images
from zflow.exports.kubernetes import KubernetesWishes, kubernetes_manifests, kubernetes_notes
from zflow.exports.parts import Application, parts_of_deployment, parts_of_flow
from zflow.exports.systemd import FIRST_PORT, SystemdWishes, systemd_notes, units
from zflow.standalone import StandaloneExecutorType
from zflow.version import __version__

Spec = FlowSpec | DeploymentSpec
PerExecutor = Mapping[str, Any] | str | int | None
Value = TypeVar("Value")

_MARK = "# Written by `zflow export"
_HEAD = _MARK + " {}`; changes made here are lost when it is written again.\n"
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_QUANTITY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_A_QUANTITY = "quantity, such as 2, 500m or 1Gi"
_SIZE = re.compile(r"[0-9]{1,12}(b|k|kb|m|mb|g|gb)?")
_LAST_PORT = 65_535
_USER = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")


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
    """Write a file for ``docker compose -f FILE up``. Raises ConfigError for what cannot be exported.

    image: of Executors that are code on this machine; it holds zflow and, where it starts, the files of `folder`.
    internal: Executors cannot reach other networks. user: ``UID:GID``, as whom containers run.
    """
    application = _application(spec, image, gateway_image, folder, include_gateway)
    wishes = ComposeWishes(
        network=_text("network_name", network_name, _NETWORK, "name of a network"),
        user=_checked_user(user) if user else _owner(application.keys),
        gpus=_numbers("gpus", gpus, application),
        shm_size=_text("shm_size", shm_size, _SIZE, "size, such as 64m or 1g"),
        internal=internal,
        publish=_published(spec),
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
    """Write a folder for ``kubectl apply -R -f FOLDER``. Raises ConfigError for what cannot be exported.

    image: as for Compose. storage: of each pod that has a workspace. max_replicas: up to so many pods of an Executor,
    as its load wants them. env_secret, keys_secret: the Secrets of variables that look like one, and of the keys.
    """
    application = _application(spec, image, gateway_image, folder, include_gateway)
    wishes = KubernetesWishes(
        namespace=_text("k8s_namespace", k8s_namespace, _NAMESPACE, "name: lower case letters, digits, hyphens"),
        gpus=_numbers("gpus", gpus, application),
        cpu=_quantities("cpu", cpu, application),
        memory=_quantities("memory", memory, application),
        storage=_text("storage", storage, _QUANTITY, _A_QUANTITY),
        shm_size=_text("shm_size", shm_size, _QUANTITY, _A_QUANTITY),
        max_replicas=_numbers("max_replicas", max_replicas, application),
        network_policy=network_policy,
        secrets=_text("env_secret", env_secret, _OBJECT, "name of a Secret"),
        keys=_text("keys_secret", keys_secret, _OBJECT, "name of a Secret"),
    )
    manifests = kubernetes_manifests(application, wishes)
    files = {name: _HEAD.format("kubernetes") + dump(manifest) for name, manifest in manifests.items()}
    files["NOTES.txt"] = kubernetes_notes(application, wishes)
    _write(Path(output_base_path), files)


def to_systemd(
    spec: Spec,
    output_base_path: str | Path,
    *,
    program: str | None = None,
    folder: str | Path | None = None,
    directory: str | Path | None = None,
    first_port: int = FIRST_PORT,
    config: str = "/etc/zflow",
    gpus: PerExecutor = None,
    keys_directory: str | Path | None = None,
) -> None:
    """Write units for /etc/systemd/system, and the YAML that goes to `config`. Raises ConfigError.

    program: the zflow command. directory: where the files of `folder` will be, that folder by default. first_port: of
    the processes behind the entrance, on loopback. gpus: which Executors may see devices. keys_directory: where the
    keys will be, the folder that the Flow names by default.
    """
    found = program or shutil.which("zflow") or os.path.join(sys.prefix, "bin", "zflow")
    where = Path(folder or ".").absolute()
    application = _parts(spec, Images("", {}, "", where, native=True), True)
    if keys_directory:
        application = application._replace(keys=plain_path("keys_directory", keys_directory))
    processes = sum(part.replicas for part in application.parts)
    if not 1 <= first_port <= _LAST_PORT - processes:
        raise ConfigError(f"first_port: {first_port}: there are no {processes} ports from there on")
    wishes = SystemdWishes(
        program=plain_path("program", found),
        folder=plain_path("directory", directory or where),
        first_port=first_port,
        config=plain_path("config", config),
        gpus=_numbers("gpus", gpus, application),
        host=_published(spec, has_keys=bool(application.keys)),
    )
    files = units(application, wishes)
    _write(Path(output_base_path), {**files, "NOTES.txt": systemd_notes(application, wishes, list(files))})


def exported_name(spec: Spec, folder: str | Path) -> str:
    """By which units and manifests of `spec` go. folder: of its files."""
    return _parts(spec, Images("", {}, "", Path(folder).absolute(), native=True), True).name


def export_executor(
    export: Callable[..., None], path: str | Path, uses: Any, kind: StandaloneExecutorType, options: Mapping[str, Any]
) -> None:
    """Write the files of one Executor. options: of `export`, of a Flow and of its `add`, or of a Deployment."""
    own, others = split_options(export, options)
    if not isinstance(kind, StandaloneExecutorType):
        raise ConfigError(f"executor_type: expected one of Executor.StandaloneExecutorType, got {kind!r:.80}")
    if kind is StandaloneExecutorType.SHARED:
        if "port_expose" in others:
            others["port"] = others.pop("port_expose")
        return export(DeploymentSpec.from_options(uses=uses, **others), path, **own)
    of_a_flow = {spelling for item in options_of(FlowSpec) for spelling in (item.name, *item.aliases)} - {"name"}
    flow = FlowSpec.from_options(**{name: value for name, value in others.items() if name in of_a_flow})
    export(flow.add(uses=uses, **{name: others[name] for name in others if name not in of_a_flow}), path, **own)


def split_options(export: Callable[..., None], options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of `options` that `export` takes, and the others."""
    known = inspect.signature(export).parameters
    own = {name: value for name, value in options.items() if name in known}
    return own, {name: value for name, value in options.items() if name not in known}


def _application(
    spec: Spec, image: PerExecutor, gateway_image: str | None, folder: str | Path | None, include_gateway: bool
) -> Application:
    by_name = dict(image) if isinstance(image, Mapping) else {}
    default = image if isinstance(image, str) else ""
    front = checked_image(gateway_image or default or f"zflow:{__version__}")
    application = _parts(spec, Images(default, by_name, front, Path(folder or ".").absolute()), include_gateway)
    _each("image", by_name, application)
    return application


def _parts(spec: Spec, images: Images, include_gateway: bool) -> Application:
    if isinstance(spec, FlowSpec):
        return parts_of_flow(spec, images, include_gateway=include_gateway)
    if not include_gateway:
        raise ConfigError("include_gateway: a Deployment has no gateway; its head is what spreads its requests")
    return parts_of_deployment(spec, images)


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


def _quantities(name: str, given: PerExecutor, application: Application) -> dict[str, str]:
    values = _each(name, given, application)
    return {node: _text(f"{name}: {node}", str(value), _QUANTITY, _A_QUANTITY) for node, value in values.items()}


def _text(name: str, given: str | None, pattern: re.Pattern[str], what: str) -> str:
    """What was given, empty for nothing. Raises ConfigError for what an engine would not take, or take for more."""
    if given and not (isinstance(given, str) and pattern.fullmatch(given)):
        raise ConfigError(f"{name}: {given!r:.80} is no {what}")
    return given or ""


def plain_path(name: str, given: str | Path) -> str:
    """The whole path. Raises ConfigError for one with characters that mean something where it is written."""
    path = os.path.abspath(given)
    if not path.isprintable() or re.search(r"""["'\\$%]""", path):
        raise ConfigError(f"{name}: {path!r:.200}: a unit cannot name this path; use letters, digits and . _ - /")
    return path


def _checked_user(user: str) -> str:
    if not _USER.fullmatch(user):
        raise ConfigError(f"user: {user!r:.80}: write UID:GID, two numbers")
    if user.startswith("0:"):
        raise ConfigError(f"user: {user}: no container shall run as root")
    return user


def _published(spec: Spec, *, has_keys: bool = False) -> str:
    """Where the entrance is bound on the host. Raises ConfigError, as for any process."""
    front = spec.front if isinstance(spec, DeploymentSpec) else spec
    if not (is_loopback(spec.host) or front.keys or has_keys or front.insecure):
        raise ConfigError(
            f"host: {spec.host} would let everybody who can reach this host call it; give keys (`zflow keygen`, then "
            "keys=FOLDER, --keys or ZFLOW_KEYS), or say insecure=True (--insecure)"
        )
    return "127.0.0.1" if spec.host == "localhost" else spec.host


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
