"""From an Executor that names an image to the container that shall serve it.

What the container may do is decided here: by default nothing but answer its Flow. It has no network, can write nowhere
but to /tmp and its workspace, has no privileges and cannot get any, and is nobody, or who started it if not root.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack

from zflow.config.container_options import Volume
from zflow.config.definition import is_container
from zflow.config.images import image_of
from zflow.config.spec import ExecutorSpec
from zflow.errors import ConfigError

NOBODY = 65532  # as in the image of zflow: no account of a usual system has this number
WORKSPACE = "/workspace"
_ARGUMENTS = ("uses_with", "uses_metas", "uses_requests", "uses_dynamic_batching")
_SAFE: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "network": "none",
    "pids_limit": "256",
    "init": True,
    "log_driver": "none",  # what it says is told as it comes; a copy with the engine would grow without end
}
_IN_THE_IMAGE = {
    "py_modules": "its code is in the image",
    "install_requirements": "what it requires is in the image",
    "reload": "its code is in the image: build that anew, and renew the Executor by restart or rolling-update",
    "start_method": "no process is forked for it",
}


class ContainerPlan(NamedTuple):
    """One container for each process. arguments: uses_with and its siblings. volumes: of this machine. workspace: the
    folder here that is its workspace, empty for one in memory. options: of ``docker run``, see container_options.py."""

    image: str
    arguments: Mapping[str, Any]
    volumes: tuple[Volume, ...] = ()
    workspace: str = ""
    gpus: str = ""
    entrypoint: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}


def container_of(spec: ExecutorSpec) -> ContainerPlan | None:
    """The container of `spec`; None where it is no image. Raises ConfigError for what cannot be had in one."""
    if not is_container(spec.uses):
        return None
    name = spec.name or "uses"
    for option, told in _IN_THE_IMAGE.items():
        if spec.given.get(option) and is_container(spec.given.get("uses")):
            raise ConfigError(f"{name}: {option} is not for a container: {told}")
    volumes = tuple(map(Volume.of, spec.volumes))
    for volume in volumes:
        if not os.path.exists(volume.source):
            raise ConfigError(f"{name}: volumes: {volume.source} does not exist; make it, or correct the path")
    return ContainerPlan(
        image=image_of(str(spec.uses)),
        arguments={option: _plain(name, option, getattr(spec, option)) for option in _ARGUMENTS},
        volumes=volumes,
        workspace=os.path.abspath(os.path.expanduser(spec.workspace)) if spec.workspace else "",
        gpus=spec.gpus,
        entrypoint=spec.entrypoint,
        options={**_SAFE, "user": _user(), **spec.docker_kwargs},
    )


def _plain(name: str, option: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        msgpack.packb(value)
    except (TypeError, ValueError, OverflowError) as error:
        told = f"{name}: {option} cannot travel into a container: {error}"
        raise ConfigError(f"{told}; give text, numbers, lists and maps") from None
    return value


def _user() -> str:
    """Its own user's where that is not root: what it writes into a volume is that user's then."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{NOBODY}:{NOBODY}"
