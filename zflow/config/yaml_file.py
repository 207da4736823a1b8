"""A Flow as YAML, both ways.

::

    jtype: Flow              # or !Flow in front of the first line
    version: '1'
    with: {port: 12345}      # options of Flow
    gateway: {host: ...}     # port and host may stand here as well
    executors:
      - name: encoder        # options of add
        uses: encoder.yml    # relative to this file; or a definition: {jtype: ..., with: ..., ...}
      - method: needs_all    # or needs; add is the default
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zflow.config.container_options import VOLUMES, checked_volumes, relative_volumes
from zflow.config.definition import (
    SERVED_BY,
    Folder,
    checked_modules,
    checked_uses,
    importable_address,
    is_file,
    modules_relative_to,
    relative_to,
)
from zflow.config.log_config import checked_log_config
from zflow.config.options import Surface
from zflow.config.places import Path as Keys
from zflow.config.places import Place, shown
from zflow.config.plain_yaml import Parsed, dump, parse
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import TopologyError, nearest

__all__ = [
    "KEYS",
    "METHODS",
    "USES",
    "add_entry",
    "as_list",
    "as_map",
    "check_root",
    "checked_method",
    "class_allowed",
    "dump_flow",
    "flow_options",
    "load_flow",
    "parse",
    "read_root",
    "resolve",
    "saved",
    "written",
]

KEYS = ("jtype", "version", "with", "gateway", "executors")
_AN_EXECUTOR = "an Executor is served by `zflow executor`"
_GATEWAY_KEYS = ("port", "port_expose", "host")
USES = ("uses", "uses_before", "uses_after")
FOLDERS = ("workspace", "keys")
METHODS = ("add", "needs", "needs_all")


def load_flow(source: str | Path | Mapping[str, Any], *, context: Mapping[str, Any] | None = None) -> FlowSpec:
    """The Flow in `source`: the path of a YAML file, YAML as text, or the same as a dict.

    Relative paths are relative to the file's folder, of text and dicts to the working directory. context: values for
    ``${{ CONTEXT.x }}``. Raises ConfigError with file, line and path of the fault, such as
    ``flow.yml:12 executors[1].replicas: expected a whole number, got "two"``.
    """
    root, place, folder = read_root(source, "Flow", KEYS, context=context, class_allowed=class_allowed)
    spec = FlowSpec.from_options(place.down("with"), Surface.YAML, **flow_options(root, folder, place))
    for number, entry in enumerate(as_list(root.get("executors"), place.down("executors"))):
        spec = add_entry(spec, entry, folder, place.down("executors", number), context)
    for number, fault in spec.graph_faults():
        raise place.down("executors", number).fault(str(fault), TopologyError)
    try:
        spec.topology()
    except TopologyError as error:  # a circle
        raise place.down("executors").fault(str(error), TopologyError) from error
    return spec


def read_root(
    source: str | Path | Mapping[str, Any],
    jtype: str,
    keys: Sequence[str],
    *,
    context: Mapping[str, Any] | None,
    class_allowed: Callable[[Keys], bool],
) -> tuple[dict[str, Any], Place, Folder]:
    """The map in `source`, checked to be of this `jtype` and to have no other keys; its place; and its folder."""
    if isinstance(source, str) and "\n" not in source and is_file(source):
        source = Path(source)
    folder = Folder(source.parent.absolute(), confined=True) if isinstance(source, Path) else Folder.current()
    if isinstance(source, Mapping):
        value, place = Parsed(source, Place())
    else:
        value, place = parse(source, context=context, class_allowed=class_allowed)
    root = as_map(value, place)
    check_root(root, place, jtype, keys)
    return root, place, folder


def dump_flow(spec: FlowSpec, folder: str | Path | None = None) -> str:
    """`spec` as YAML: what was given and nothing else, so that loading it gives an equal spec.

    folder: where the file shall be; paths in it are written relative to it (default: all paths absolute). Raises
    ConfigError, naming the Executor, for what a YAML file cannot hold.
    """
    flow: dict[str, Any] = {"jtype": "Flow", "version": "1"}
    target = Path(folder).absolute() if folder is not None else None
    if spec.given:
        flow["with"] = written(spec.given, target)
    place = Place("", ("executors",))
    if spec.executors:
        flow["executors"] = [saved(item, target, place.down(item.name)) for item in spec.executors]
    return dump(flow, templates=True)


def class_allowed(path: Keys) -> bool:
    """``!Name`` may stand in front of the Flow and of the definition of an Executor."""
    return not path or (len(path) == 3 and path[0] == "executors" and path[2] in USES)


def check_root(root: Mapping[str, Any], place: Place, jtype: str, keys: Sequence[str]) -> None:
    """Raise ConfigError for a key that is not among `keys`, another jtype, or a version that we do not know."""
    given = root.get("jtype")
    told = f"expected 'jtype: {jtype}', got {shown(given)}"
    if isinstance(given, str) and given != jtype:  # its keys are those of what it really is
        raise place.down("jtype").fault(f"{told}; {SERVED_BY.get(given, _AN_EXECUTOR)}")
    for key in root:
        if key not in keys:
            raise place.down(key).fault(f"unknown key {shown(key)}: {nearest(str(key), keys)}")
    if given != jtype:
        raise place.down("jtype").fault(told)
    if str(root.get("version", "1")) not in ("1", "1.0"):
        raise place.down("version").fault(f"expected version '1', got {shown(root['version'])}")


def flow_options(root: Mapping[str, Any], folder: Folder, place: Place) -> dict[str, Any]:
    """The Flow's own options, under `with` and under `gateway`. Raises ConfigError where one stands in both."""
    options = as_map(root.get("with"), place.down("with"))
    for key, value in as_map(root.get("gateway"), place.down("gateway")).items():
        there = place.down("gateway", key)
        if key not in _GATEWAY_KEYS:
            raise there.fault(f"unknown option {shown(key)}: {nearest(key, _GATEWAY_KEYS)}")
        if options.get(key) is not None:
            raise there.fault(f"{key} stands under `with` as well; give it once")
        options[key] = value
    resolve_folders(options, folder, place.down("with"))
    return options


def add_entry(spec: FlowSpec, entry: Any, folder: Folder, place: Place, context: Mapping[str, Any] | None) -> FlowSpec:
    """`spec` with the Executor that `entry` of the list describes. Raises ConfigError."""
    options = as_map(entry, place)
    method = checked_method(options.pop("method", None), place.down("method"))
    resolve(options, folder, place, context)
    if method == "needs":
        return spec.needs(options.pop("needs", None) or (), place, Surface.YAML, **options)
    add = spec.needs_all if method == "needs_all" else spec.add
    return add(place, Surface.YAML, **options)


def checked_method(method: Any, place: Place) -> str:
    """The way in which an Executor is added. Raises ConfigError for one that there is not."""
    if (method or "add") not in METHODS:
        raise place.fault(f"expected one of {', '.join(METHODS)}, got {shown(method)}")
    return method or "add"


def resolve(options: dict[str, Any], folder: Folder, place: Place, context: Mapping[str, Any] | None) -> None:
    """What options of an Executor name by relative paths is from now on found in `folder`."""
    for key in USES:
        if options.get(key) is not None:
            options[key] = checked_uses(options[key], folder, place.down(key), context)
    if options.get("py_modules") is not None:
        options["py_modules"] = checked_modules(options["py_modules"], folder, place.down("py_modules"))
    if options.get("volumes") is not None:
        in_folder = replace(VOLUMES, check=lambda value: checked_volumes(value, folder.path))
        options["volumes"] = in_folder.checked(options["volumes"], place.down("volumes"))
    resolve_folders(options, folder, place)


def resolve_folders(options: dict[str, Any], folder: Folder, place: Place) -> None:
    """The same for what a Flow has as well: its workspace, its keys, and where it logs."""
    for key in FOLDERS:
        if isinstance(options.get(key), str) and options[key]:
            options[key] = os.path.normpath(folder.path.absolute() / os.path.expanduser(options[key]))
    if options.get("log_config") is not None:
        there = place.down("log_config")
        options["log_config"] = checked_log_config(options["log_config"], folder.path, there)


def as_map(value: Any, place: Place) -> dict[str, Any]:
    """The map with names for keys that stands at `place`; an empty one where nothing does."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise place.fault(f"expected a map, got {shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise place.fault(f"expected a name for a key, got {shown(key)}")
    return dict(value)


def as_list(value: Any, place: Place) -> list[Any]:
    """The list that stands at `place`; an empty one where nothing does."""
    if value is not None and not isinstance(value, list):
        raise place.fault(f"expected a list, got {shown(value)}")
    return value or []


def saved(executor: ExecutorSpec, folder: Path | None, place: Place) -> dict[str, Any]:
    """What was given for `executor`, as it stands in a file in `folder`."""
    entry = written(executor.given, folder)
    for key in USES:
        if key in entry:
            entry[key] = _saved_uses(entry[key], folder, place.down(key))
    if "py_modules" in entry and folder is not None:
        entry["py_modules"] = modules_relative_to(entry["py_modules"], folder, place.down("py_modules"))
    if "volumes" in entry and folder is not None:
        entry["volumes"] = relative_volumes(entry["volumes"], folder)
    return entry


def _saved_uses(uses: Any, folder: Path | None, place: Place) -> Any:
    if isinstance(uses, type):
        return importable_address(uses, place)
    if folder is None:
        return uses
    if isinstance(uses, dict):
        return relative_to(uses, folder, place)
    return _from(folder, uses) if isinstance(uses, str) and is_file(uses) else uses


def written(given: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """Options as they stand in a file in `folder`: our own tuples as lists; folders and logs inside of it by the way
    from there. What users gave stays as it is, for `dump` to judge."""
    options: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in given.items()
    }
    for key in FOLDERS:
        if options.get(key):
            options[key] = _from(folder, options[key])
    logs = options.get("log_config")
    if isinstance(logs, dict) and logs.get("file"):
        options["log_config"] = {**logs, "file": _from(folder, logs["file"])}
    elif isinstance(logs, str) and os.path.isabs(logs):
        options["log_config"] = _from(folder, logs)
    return options


def _from(folder: Path | None, path: str) -> str:
    return os.path.relpath(path, folder) if folder is not None and Path(path).is_relative_to(folder) else path
