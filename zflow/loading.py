"""From what `uses` names to a running Executor, in two steps that may happen in two processes.

`describe` reads and checks; it imports nothing of the user's. What it returns travels to the process that shall serve
the Executor, and `build` imports the modules there, finds the class and makes the instance.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zflow.batching import Table, checked_batching, joined
from zflow.config.definition import (
    Definition,
    Folder,
    Uses,
    checked_arguments,
    checked_definition,
    checked_modules,
    checked_uses,
    is_container,
    modules_relative_to,
)
from zflow.config.places import Place
from zflow.config.plain_yaml import dump, parse
from zflow.config.references import is_reference, parse_reference
from zflow.endpoints import Endpoint, endpoints_of
from zflow.errors import ConfigError, nearest
from zflow.executor import (
    INJECTED,
    Executor,
    accepts_injected,
    batch,
    checked_metas,
    checked_requests,
    registered,
    registered_names,
)
from zflow.importing import class_at, find_class, import_modules, is_importable, put_first

REQUIREMENTS = "requirements.txt"  # beside the YAML file of an Executor: what its modules import


@dataclass(frozen=True)
class ExecutorDescription:
    """One Executor as it shall be built. Plain data but for `target` and `known`; cloudpickle carries it.

    target: the class, ``package.module:Class``, or a bare name to be found once `py_modules` are imported. known: the
    class of that bare name in the describing process, for when `py_modules` do not have it. arguments: of ``__init__``.
    py_modules: dotted names and absolute paths. source: the YAML file it came from. origin: what named this in a
    registry. packages: a folder of what it requires, which nobody else sees.
    """

    target: type[Executor] | str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    metas: Mapping[str, Any] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)
    batching: Table = field(default_factory=dict)
    py_modules: tuple[str, ...] = ()
    source: Path | None = None
    known: type[Executor] | None = None
    origin: str = ""
    packages: Path | None = None

    @property
    def class_name(self) -> str:
        """The bare name of the class."""
        return self.target.rpartition(":")[2] if isinstance(self.target, str) else self.target.__name__

    @property
    def name(self) -> str:
        """The name in the metas, else the class's."""
        return self.metas.get("name") or self.class_name

    def to_be_read_again(self) -> ExecutorDescription:
        """The same for processes that shall read the class's source for themselves, whenever they start.

        Raises ConfigError where there is no file that they could read.
        """
        cls = self.target
        if isinstance(cls, str) or cls is Executor:
            return self
        module = sys.modules.get(cls.__module__)
        file = getattr(module, "__file__", None)
        if module is None or file is None or cls.__module__ == "__main__" or vars(module).get(cls.__name__) is not cls:
            told = f"reload: {cls.__qualname__} of {cls.__module__} cannot be read again without running what made it"
            raise ConfigError(f"{told}; put the class at the top level of a file of its own, and import it from there")
        if is_importable(module):
            return self
        return replace(self, target=cls.__name__, py_modules=(*self.py_modules, os.path.abspath(file)))

    def build(self, runtime_args: Mapping[str, Any]) -> Executor:
        """Import the modules, find the class and make the instance.

        Raises ConfigError for a missing module or class, for arguments that ``__init__`` does not take or lacks; and
        lets through what ``__init__`` itself raises.
        """
        cls = self.find_class()
        runtime_args = {"py_modules": list(self.py_modules) or "", **runtime_args}
        injected: dict[str, Any] = {
            "metas": dict(self.metas),
            "requests": dict(self.requests),
            "runtime_args": runtime_args,
        }
        if accepts_injected(cls):
            self._check_arguments(cls, {**self.arguments, **injected})
            executor = cls(**self.arguments, **injected)
            if not executor._zflow.reached:
                raise TypeError(f"{cls.__name__}.__init__ must pass its **kwargs on: super().__init__(**kwargs)")
        else:  # a dataclass, whose __init__ nobody wrote
            executor = self._build_in_two_steps(cls, injected)
        if self.batching:
            batch(executor, self.batching)
        return executor

    def find_class(self) -> type[Executor]:
        """The class, once everything is imported. Raises ConfigError."""
        folder = self.source.parent if self.source else Path.cwd()
        if self.packages is not None:
            put_first(self.packages)
        try:
            modules = import_modules(self.py_modules, folder)
        except ConfigError as error:
            raise ConfigError(f"{error}{self._remedy(error)}") from error.__cause__
        if isinstance(self.target, type):
            return self.target
        if ":" in self.target:
            return class_at(self.target, folder)
        try:
            return find_class(self.target, modules)
        except ConfigError as error:
            if self.known is not None:
                return self.known
            raise ConfigError(f"{self}: {error}") from error.__cause__

    def foresee(self) -> tuple[type[Executor], dict[str, Endpoint]]:
        """The class, and what an instance of it would answer. Raises as `build` does before it calls ``__init__``."""
        cls = self.find_class()
        injected = dict.fromkeys(INJECTED) if accepts_injected(cls) else {}
        self._check_arguments(cls, {**self.arguments, **injected})
        return cls, endpoints_of(cls, self.requests, self.batching)

    def _remedy(self, error: ConfigError) -> str:
        """What to do where a module is missing that the Executor says it requires."""
        wanted = self.source.with_name(REQUIREMENTS) if self.source else None
        if not isinstance(error.__cause__, ModuleNotFoundError) or wanted is None or not wanted.is_file():
            return ""
        if self.packages is not None:
            return f"; {wanted} does not ask for it"
        return f"; install what {wanted} asks for, or let zflow do that: --install-requirements"

    def _build_in_two_steps(self, cls: type[Executor], injected: Mapping[str, Any]) -> Executor:
        self._check_arguments(cls, self.arguments)
        executor = cls.__new__(cls, **self.arguments)
        Executor.__init__(executor, **injected)
        cls.__init__(executor, **self.arguments)
        return executor

    def _check_arguments(self, cls: type[Executor], arguments: Mapping[str, Any]) -> None:
        """Say what is wrong in the user's words before ``__init__`` says it in Python's."""
        signature = inspect.signature(cls.__init__)
        parameters = signature.parameters
        if not any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
            for name in set(arguments) - set(parameters):
                told = f"{self}: {cls.__name__} takes no argument {name!r}"
                raise ConfigError(f"{told}: {nearest(name, set(parameters) - {'self', *INJECTED})}")
        try:
            signature.bind(None, **arguments)
        except TypeError as error:
            raise ConfigError(f"{self}: {cls.__name__} cannot be made: {error}; see `with` or uses_with") from error

    def __str__(self) -> str:
        source = self.origin or self.source
        return f"{source} ({self.class_name})" if source else self.class_name


def describe(
    uses: Any,
    *,
    uses_with: Mapping[str, Any] | None = None,
    uses_metas: Mapping[str, Any] | None = None,
    uses_requests: Mapping[str, str] | None = None,
    uses_dynamic_batching: Mapping[str, Any] | None = None,
    py_modules: str | Sequence[str] | None = None,
    folder: str | Path | None = None,
    context: Mapping[str, Any] | None = None,
    install_requirements: bool = False,
) -> ExecutorDescription:
    """What `uses` and the overrides ask for, checked.

    uses: an Executor class, its name, ``module:Class`` or ``module.Class``, the path of a YAML file, YAML as text, the
    same as a dict, the ``hub://`` name of one in a registry, which is fetched unless it is here, or None for the
    Executor that passes documents through. The `uses_...` win over a definition's own
    values, key by key. py_modules: imported besides the definition's own. folder: what relative paths are relative to
    (default: the working directory). context: values for ``${{ CONTEXT.x }}``.
    install_requirements: what its requirements.txt asks for, for it alone. Raises ConfigError.
    """
    base = Folder(Path(folder)) if folder is not None else Folder.current()
    found = checked_uses(uses, base, Place("uses"), context)
    source, origin = None, ""
    if is_reference(found):
        origin = str(found)
        found = _fetched(origin)
    if is_container(found):
        told = f"uses: {found:.200} is an image, which no class can be taken from"
        raise ConfigError(f"{told}; let it be started by a Flow, a Deployment or `zflow executor`, or export it")
    if isinstance(found, str) and os.path.isabs(found):
        source = Path(found)
        found = read_definition(source, context)
    definition = found if isinstance(found, dict) else {}
    metas = {**definition.get("metas", {}), **checked_metas(uses_metas or {}, Place("uses_metas"))}
    modules = checked_modules(metas.get("py_modules"), base, Place("uses_metas").down("py_modules"))
    modules += checked_modules(py_modules, base, Place("py_modules"))
    if metas.get("py_modules"):
        metas["py_modules"] = list(modules)
    target, known = _target(found, modules)
    return ExecutorDescription(
        target=target,
        arguments={**definition.get("with", {}), **checked_arguments(uses_with or {}, Place("uses_with"))},
        metas=metas,
        requests={**definition.get("requests", {}), **checked_requests(uses_requests or {}, Place("uses_requests"))},
        batching=joined(
            definition.get("dynamic_batching", {}),
            checked_batching(uses_dynamic_batching or {}, Place("uses_dynamic_batching")),
        ),
        py_modules=_without_main(modules, known),
        source=source,
        known=known if isinstance(target, str) and not origin else None,  # a package has its class itself
        origin=origin,
        packages=_installed(source) if install_requirements else None,
    )


def _fetched(uses: str) -> str:
    """The YAML file of what a registry has."""
    from zflow.hub.contents import CONFIG  # stands above this module, and few need it
    from zflow.hub.fetching import fetch

    return str(fetch(parse_reference(uses)).folder / CONFIG)


def _installed(source: Path | None) -> Path | None:
    """The folder of what is asked for beside the YAML file of an Executor."""
    if source is None:
        raise ConfigError("install_requirements is for a YAML file or a package, which have a requirements.txt")
    from zflow.hub.requirements import install  # as above

    return install(source.parent)


def read_definition(path: Path, context: Mapping[str, Any] | None = None) -> Definition:
    """The definition in a YAML file; its modules must lie in the file's folder or below. Raises ConfigError."""
    parsed = parse(path, context=context)
    return checked_definition(parsed.value, Folder(path.parent, confined=True), parsed.place)


def _target(found: Uses, modules: Sequence[str]) -> tuple[type[Executor] | str, type[Executor] | None]:
    """What to build, and the class that already bears the name, if it is only a name."""
    if found is None:
        return Executor, None
    if isinstance(found, type):
        return found, None
    name = found["jtype"] if isinstance(found, dict) else found
    if ":" in name:
        return name, None
    known = registered(name)
    if known is None and not modules:
        told = f"no Executor class {name!r} is known: {nearest(name, registered_names())}"
        raise ConfigError(f"{told} (if its file is not imported yet, name the file in py_modules)")
    return (known, known) if known is not None and not modules else (name, known)


def _without_main(modules: Sequence[str], known: type[Executor] | None) -> tuple[str, ...]:
    """`modules` but for the running script, which must not run again in another process to define `known`."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if known is None or known.__module__ != "__main__" or script is None:
        return tuple(dict.fromkeys(modules))
    return tuple(name for name in dict.fromkeys(modules) if os.path.realpath(name) != os.path.realpath(script))


def save(executor: Executor, path: Path) -> None:
    """Write the definition of `executor` to a YAML file. Raises ConfigError for what cannot be written."""
    state = executor._zflow
    place = Place(path.name)
    if "*" in state.given:
        raise place.fault(f"{type(executor).__name__} was given unnamed arguments (*args), which YAML cannot hold")
    definition: Definition = {"jtype": type(executor).__name__}
    if state.given:
        definition["with"] = state.given
    if state.metas:
        definition["metas"] = dict(state.metas)
    if modules := state.metas.get("py_modules"):
        files = checked_modules(modules, Folder.current(), place)
        names = modules_relative_to(files, path.absolute().parent, place.down("metas", "py_modules"))
        definition["metas"]["py_modules"] = names
    if state.requests:
        definition["requests"] = state.requests
    if state.batching:
        definition["dynamic_batching"] = state.batching
    text = dump(definition, place, templates=True)
    path.write_text(text, encoding="utf-8")
