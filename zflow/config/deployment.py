"""What was asked of a Deployment, one Executor that stands alone; and the same as YAML, both ways.

::

    jtype: Deployment        # or !Deployment in front of the first line
    version: '1'
    with:                    # options of add, and of Flow those that say how it is reached
      uses: indexer.yml
      shards: 2
      port: 12345
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config.options import Surface, collect, options_of
from zflow.config.places import Path as Keys
from zflow.config.places import Place, shown
from zflow.config.plain_yaml import dump, parse
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.config.yaml_file import USES, as_map, read_root, resolve, saved, written
from zflow.errors import nearest

KEYS = ("jtype", "version", "with")
_HERE = Place()  # an option's own name says enough where Python gave it
OF_THE_FRONT = ("port", "asyncio", "prefetch", "insecure", "keys", "peers")  # declared for a Flow
OF_LOGS = ("quiet", "quiet_error", "log_config")  # of the Executor, and of the head before it
OF_A_GRAPH = ("needs", "when", "floating", "quorum", "within", "external", "server_key", "on_timeout", "no_reduce")


class DeploymentSpec(NamedTuple):
    """executor: what is served. front: how it is reached, in those of a Flow's options that are OF_THE_FRONT."""

    executor: ExecutorSpec
    front: FlowSpec

    @classmethod
    def from_options(cls, place: Place = _HERE, surface: Surface = Surface.PYTHON, /, **options: Any) -> DeploymentSpec:
        """A spec of these options. Raises ConfigError, that begins with `place`, for a wrong one."""
        executor, front = _divided(options, place, surface)
        spec = cls(
            ExecutorSpec.from_options(place, surface, **executor), FlowSpec.from_options(place, surface, **front)
        )
        if "port" in spec.front.given and "port_in" in spec.executor.given:
            raise place.down("port_in").fault("port and port_in are one option of a Deployment; give it once")
        return spec

    def override(self, place: Place, surface: Surface, /, **options: Any) -> DeploymentSpec:
        """This Deployment with other options. Raises ConfigError."""
        executor, front = dict(self.executor.given), dict(self.front.given)
        if "port" in options or "port_in" in options:
            executor.pop("port_in", None)
            front.pop("port", None)
        changed = DeploymentSpec.from_options(place, surface, **options)
        return DeploymentSpec.from_options(
            **{**executor, **front, **changed.executor.given, **changed.front.given},
        )

    @property
    def name(self) -> str:
        """What log lines call it."""
        return self.executor.name or "Deployment"

    @property
    def port(self) -> int | None:
        """The port it shall bind; None, or 0, for one that the system chooses."""
        return self.front.port if "port" in self.front.given else self.executor.port_in

    @property
    def host(self) -> str:
        """The address it shall bind."""
        return self.executor.host if isinstance(self.executor.host, str) else self.executor.host[0]


def load_deployment(
    source: str | Path | Mapping[str, Any], *, context: Mapping[str, Any] | None = None
) -> DeploymentSpec:
    """The Deployment in `source`, as `load_flow` has the Flow. Raises ConfigError with file, line and path."""
    root, place, folder = read_root(source, "Deployment", KEYS, context=context, class_allowed=class_allowed)
    place = place.down("with")
    options = as_map(root.get("with"), place)
    resolve(options, folder, place, context)
    return DeploymentSpec.from_options(place, Surface.YAML, **options)


def check_options(options: Mapping[str, Any], place: Place, surface: Surface) -> None:
    """Raise ConfigError for an option that is wrong by itself."""
    executor, front = _divided(options, place, surface)
    collect(ExecutorSpec, executor, place, surface)
    collect(FlowSpec, front, place, surface)


def _divided(options: Mapping[str, Any], place: Place, surface: Surface) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the Executor, and those of the front. Raises ConfigError for one that is neither's."""
    of_the_front = _spellings(FlowSpec, surface, OF_THE_FRONT)
    of_the_executor = _spellings(ExecutorSpec, surface) - set(OF_A_GRAPH)
    for name, value in options.items():
        if name in OF_A_GRAPH and value is not None:
            raise place.down(name).fault("this is for an Executor in a Flow; a Deployment is one Executor alone")
        if name not in of_the_front and name not in of_the_executor and name not in OF_A_GRAPH:
            known = sorted(of_the_front | of_the_executor)
            raise place.down(name).fault(f"unknown option {shown(name)}: {nearest(name, known)}")
    executor = {name: value for name, value in options.items() if name in of_the_executor}
    return executor, {name: value for name, value in options.items() if name in of_the_front}


def is_deployment(path: str | Path, *, context: Mapping[str, Any] | None = None) -> bool:
    """Whether the YAML file at `path` describes a Deployment, and nothing else. Raises ConfigError."""
    value, _ = parse(Path(path), class_allowed=lambda path: True, context=context)
    return isinstance(value, Mapping) and value.get("jtype") == "Deployment"


def dump_deployment(spec: DeploymentSpec, folder: str | Path | None = None) -> str:
    """`spec` as YAML: what was given and nothing else. folder: where the file shall be, as in `dump_flow`."""
    target = Path(folder).absolute() if folder is not None else None
    options = {**saved(spec.executor, target, Place("", ("with",))), **written(spec.front.given, target)}
    return dump({"jtype": "Deployment", "version": "1", **({"with": options} if options else {})}, templates=True)


def class_allowed(path: Keys) -> bool:
    """``!Name`` may stand in front of the Deployment and of the definition of an Executor."""
    return not path or (len(path) == 2 and path[0] == "with" and path[1] in USES)


def _spellings(spec: type, surface: Surface, names: tuple[str, ...] = ()) -> set[str]:
    items = [item for item in options_of(spec) if surface & item.surfaces and (not names or item.name in names)]
    return {spelling for item in items for spelling in (item.name, *item.aliases)}
