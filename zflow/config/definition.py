"""What `uses` may be, brought into one form: None, a class, a bare class name, ``package.module:Class``, the absolute
path of a YAML file, an image (``docker://image:tag``), a package of a registry (``hub://name:tag``), or a definition,
for which ``file.py:Class`` may stand.

A definition is a dict with jtype, with, metas, requests, dynamic_batching, py_modules and workspace. Its paths become
absolute here, as soon as the description is read, so that neither a later change of directory nor saving it elsewhere
changes what they mean. A YAML file may only name modules in its own folder and below; Python and the command line may
name any.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zflow.batching import checked_batching
from zflow.config.lock_file import pinned
from zflow.config.places import Place, shown
from zflow.config.plain_yaml import parse
from zflow.config.references import is_image_reference, is_reference, parse_reference
from zflow.errors import ConfigError, nearest
from zflow.executor import Executor, checked_metas, checked_requests
from zflow.importing import is_dotted

Definition = dict[str, Any]
Uses = None | type[Executor] | str | Definition

KEYS = ("jtype", "with", "metas", "requests", "dynamic_batching", "py_modules", "workspace")
SERVED_BY = {  # what else a YAML file may describe
    "Flow": "a Flow is served by `zflow flow`",
    "Deployment": "a Deployment is served by `zflow deployment`",
}
_OWN_KEYS = ("metas", "requests", "runtime_args", "dynamic_batching")  # what `with` must not give to __init__
_SUFFIXES = (".yml", ".yaml", ".jaml", ".json")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SCHEMES = ("docker", "hub", "hub+docker", "jinahub", "jinahub+docker", "jinaai", "jinaai+docker")
_CONTAINER = re.compile(r"((hub|jinahub|jinaai)\+)?docker://(?=.)")
_IN_FILE = re.compile(r"(?P<file>.*\.py):(?P<name>[A-Za-z_]\w*)", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Folder(NamedTuple):
    """What relative paths are relative to. confined: modules outside of it are refused."""

    path: Path
    confined: bool = False

    @classmethod
    def current(cls) -> Folder:
        """The working directory, for what Python or the command line gives."""
        return cls(Path.cwd())


def checked_uses(uses: Any, folder: Folder, place: Place, context: Mapping[str, Any] | None = None) -> Uses:
    """`uses` in the form that this module's docstring describes. None stands for the Executor that changes nothing.

    A name in a registry gets the digest that the lock file in `folder` has for it. Raises ConfigError for other things.
    """
    if uses is None or uses is Executor:
        return None
    if isinstance(uses, type):
        if not issubclass(uses, Executor):
            raise place.fault(f"{shown(uses)} is no Executor; let it inherit from zflow.Executor")
        return uses
    if isinstance(uses, Mapping):
        return checked_definition(uses, folder, place)
    if isinstance(uses, os.PathLike):
        return str(folder.path.absolute() / uses)
    if isinstance(uses, str):
        return _checked_text(uses, folder, place, context)
    raise place.fault(f"expected an Executor class, its name, a YAML file or a definition, got {shown(uses)}")


def _checked_text(uses: str, folder: Folder, place: Place, context: Mapping[str, Any] | None) -> Uses:
    text = uses.strip()
    if text in ("Executor", "BaseExecutor"):
        return None
    if is_container(text):
        return _checked_image(text, folder, place)
    if is_reference(text):
        return _checked_reference(text, folder, place)
    if scheme := _SCHEME.match(text):
        raise place.fault(f"{shown(text)}: nothing is called {scheme[1]}://; {nearest(scheme[1], _SCHEMES)}")
    if is_definition(text):
        parsed = parse(uses, name=str(place), context=context)
        return checked_definition(parsed.value, folder, parsed.place)
    if found := _IN_FILE.fullmatch(text):
        return checked_definition({"jtype": found["name"], "py_modules": found["file"]}, folder, place)
    if text.endswith(".py"):
        raise place.fault(f"{shown(text)} is a Python file; name the class in it as well: {text:.80}:MyExecutor")
    if is_file(text):
        return os.path.normpath(folder.path.absolute() / text)
    if text.isidentifier() or _ADDRESS.fullmatch(text):
        return text
    if is_dotted(text):
        return "{}:{}".format(*text.rsplit(".", 1))
    kinds = "no class name, no 'module:Class', no 'file.py:Class', no .yml file and no YAML with a jtype"
    raise place.fault(f"{shown(text)} is {kinds}")


def _checked_reference(uses: str, folder: Folder, place: Place) -> str:
    try:
        return str(pinned(parse_reference(uses), folder.path))
    except ConfigError as error:
        raise place.fault(str(error), type(error)) from None


def _checked_image(uses: str, folder: Folder, place: Place) -> str:
    """As it was given, unless a lock file says more of it."""
    if not is_image_reference(uses):
        return uses
    checked = _checked_reference(uses, folder, place)
    return checked if "@" in checked else uses


def is_container(uses: object) -> bool:
    """Whether `uses` names an image: ``docker://image:tag``, or ``hub+docker://name`` of a registry."""
    return isinstance(uses, str) and _CONTAINER.match(uses) is not None


def is_definition(text: str) -> bool:
    """Whether `text` is the YAML itself, not the name of something."""
    return text.lstrip().startswith("!") or "jtype:" in text or '"jtype"' in text


def is_file(text: str) -> bool:
    """Whether `text` is the path of a YAML file."""
    if os.path.isabs(text):
        return not _IN_FILE.fullmatch(text)
    return text.lower().endswith(_SUFFIXES) and not _SCHEME.match(text)


def checked_definition(given: Any, folder: Folder, place: Place) -> Definition:
    """A definition with only the keys that were given, every one checked, every path absolute."""
    if not isinstance(given, Mapping):
        raise place.fault(f"expected the definition of an Executor (jtype: ..., with: ...), got {shown(given)}")
    jtype = _checked_jtype(given.get("jtype"), place.down("jtype"))
    for key in given:
        if key not in KEYS:
            raise place.down(key).fault(f"unknown key {shown(key)}: {nearest(str(key), KEYS)}")
    definition: Definition = {"jtype": jtype}
    if given.get("with"):
        definition["with"] = checked_arguments(given["with"], place.down("with"))
    metas = _checked_part(checked_metas, given, "metas", place)
    modules = [*checked_modules(metas.pop("py_modules", None), folder, place.down("metas", "py_modules"))]
    modules += [*checked_modules(given.get("py_modules"), folder, place.down("py_modules"))]
    if modules:
        metas["py_modules"] = list(dict.fromkeys(modules))
    if given.get("workspace"):
        metas.setdefault("workspace", _checked_text_value(given["workspace"], place.down("workspace")))
    if metas:
        definition["metas"] = metas
    if requests := _checked_part(checked_requests, given, "requests", place):
        definition["requests"] = requests
    if batching := _checked_part(checked_batching, given, "dynamic_batching", place):
        definition["dynamic_batching"] = batching
    return definition


def _checked_jtype(jtype: Any, place: Place) -> str:
    """A bare name: a file that could name any import path would decide what is run."""
    if isinstance(jtype, str) and jtype in SERVED_BY:
        raise place.fault(f"expected the class of an Executor, got {shown(jtype)}; {SERVED_BY[jtype]}")
    if isinstance(jtype, str) and jtype.isidentifier():
        return jtype
    if jtype is None:
        raise place.fault("the definition names no class; add 'jtype: MyExecutor'")
    raise place.fault(
        f"expected the bare name of an Executor class (its module belongs into py_modules), got {shown(jtype)}"
    )


def _checked_text_value(value: Any, place: Place) -> str:
    if not isinstance(value, str):
        raise place.fault(f"expected text, got {shown(value)}")
    return value


def _checked_part(check: Any, given: Mapping[str, Any], key: str, place: Place) -> dict[str, Any]:
    checked: dict[str, Any] = check(given[key], place.down(key)) if given.get(key) is not None else {}
    return checked


def checked_arguments(given: Any, place: Place) -> dict[str, Any]:
    """Arguments of ``__init__`` by name."""
    if not isinstance(given, Mapping):
        raise place.fault(f"expected a map of arguments, got {shown(given)}")
    for key in given:
        if not isinstance(key, str) or not key.isidentifier():
            raise place.down(key).fault(f"expected the name of an argument, got {shown(key)}")
        if key in _OWN_KEYS:
            raise place.down(key).fault(f"{key} is no argument of your __init__; give it beside the arguments")
    return dict(given)


def checked_modules(given: Any, folder: Folder, place: Place) -> tuple[str, ...]:
    """py_modules as dotted names and absolute paths; one text, or a list of them."""
    if given is None or given == "":
        return ()
    names = [given] if isinstance(given, (str, os.PathLike)) else given
    if not isinstance(names, (list, tuple)):
        raise place.fault(f"expected a file, a module's name or a list of them, got {shown(given)}")
    places = [place] if names is not given else [place.down(index) for index in range(len(names))]
    return tuple(_checked_module(name, folder, where) for name, where in zip(names, places, strict=True))


def _checked_module(given: Any, folder: Folder, place: Place) -> str:
    if not isinstance(given, (str, os.PathLike)) or not os.fspath(given):
        raise place.fault(f"expected a file or a module's name, got {shown(given)}")
    name = os.fspath(given)
    if "\0" in name:
        raise place.fault(f"{name!r:.80} holds a NUL, which no path can")
    if is_dotted(name):
        return name
    path = os.path.normpath(folder.path.absolute() / name)
    if folder.confined and not _is_inside(path, folder.path):
        told = f"{shown(name)} lies outside of {folder.path}, where this file may not reach"
        raise place.fault(f"{told}; move it there, or give py_modules from Python or the command line")
    return path


def _is_inside(path: str, folder: Path) -> bool:
    """Links are followed: one that leads out is outside."""
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(path)]) == root


def relative_to(definition: Definition, folder: Path, place: Place) -> Definition:
    """`definition` for a YAML file in `folder`: its modules' paths as that file will be allowed to name them."""
    metas = dict(definition.get("metas", {}))
    if "py_modules" not in metas:
        return definition
    metas["py_modules"] = modules_relative_to(metas["py_modules"], folder, place.down("metas", "py_modules"))
    return {**definition, "metas": metas}


def modules_relative_to(modules: Any, folder: Path, place: Place) -> list[str]:
    """py_modules for a YAML file in `folder`. Raises ConfigError for a file that it may not name."""
    names = []
    for name in modules:
        if not is_dotted(name):
            if not _is_inside(name, folder):
                told = f"{name} lies outside of {folder}, where the YAML file could not reach it"
                raise place.fault(f"{told}; save it in a folder above, or put the class into an importable package")
            name = os.path.relpath(os.path.realpath(name), os.path.realpath(folder))
            name = f"./{name}" if is_dotted(name) else name  # a package's folder, not a module's name
        names.append(name)
    return names


def importable_address(cls: type[Executor], place: Place) -> str:
    """``module:Class``. Raises ConfigError for a class that no other process could import."""
    address = f"{cls.__module__}:{cls.__qualname__}"
    module = sys.modules.get(cls.__module__)
    found = getattr(module, cls.__qualname__, None)
    if _ADDRESS.fullmatch(address) and cls.__module__ != "__main__" and found is cls:
        return address
    told = f"{cls.__qualname__} of {cls.__module__} cannot be imported by another process"
    raise place.fault(f"{told}; put it into a module of its own, or give its name and py_modules instead")
