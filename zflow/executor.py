"""What users subclass: the Executor, its `@requests` methods, and the table of endpoints that follows from them.

An Executor is an ordinary class: it can be made and its methods called without any Flow. What a Flow adds arrives by
three arguments of ``__init__`` (`metas`, `requests`, `runtime_args`), which is why an ``__init__`` must pass its
``**kwargs`` on. Every subclass is known by its bare name from the moment it exists, so that YAML can name it.
"""

from __future__ import annotations

import inspect
import itertools
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import IO, Any, TypeVar

from zflow.batching import Table, checked_batching
from zflow.config import environment
from zflow.config.places import Place, shown
from zflow.endpoints import DEFAULT, Endpoint, endpoint_problem, endpoints_of, requests
from zflow.errors import ConfigError, nearest
from zflow.preloading import check_preload, preload_once
from zflow.saving import clean, place, saving
from zflow.standalone import StandaloneExecutorType, to_docker_compose_yaml, to_kubernetes_yaml

__all__ = ["Endpoint", "Executor", "requests"]

METAS = ("name", "description", "py_modules", "workspace")
INJECTED = ("metas", "requests", "runtime_args")
_OF_OURS = (*INJECTED, "dynamic_batching")  # arguments of __init__ that are none of the user's

_PATH_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RUNTIME_ARGS: dict[str, Any] = {"replicas": 1, "shards": 1, "shard_id": None, "workspace": "", "py_modules": ""}

AnyExecutor = TypeVar("AnyExecutor", bound="Executor")


@dataclass
class _State:
    """What the base class keeps of an instance, in one attribute, so that users' names stay free."""

    given: dict[str, Any] = field(default_factory=dict)  # the arguments of __init__, by name
    metas: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    batching: Table = field(default_factory=dict)
    workspace: str = ""
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    reached: bool = False  # Executor.__init__ has got what a Flow injects
    closed: bool = False
    cleaned: set[Path] = field(default_factory=set)  # folders in which nothing is left of killed processes
    is_cancelled: Callable[[], bool] = lambda: False  # what serves the instance puts its own here


class _Logger:
    """What `self.logger` is unless a class or an instance has its own of that name: hence no property."""

    def __get__(self, executor: Executor, owner: type[Executor]) -> logging.Logger:
        name = owner.__name__ if executor is None else executor.runtime_args.name
        return logging.getLogger(f"zflow.{name}")


class Executor:
    """The base class of everything that serves requests.

    metas: name, description, py_modules, workspace. requests: endpoint -> name of the method that shall answer it.
    runtime_args: what the Flow knows about this process (name, replicas, shards, shard_id, workspace, py_modules).
    workspace: see the property. dynamic_batching: endpoint or method -> options, as zflow.batching has them. Raises
    TypeError for an argument that nobody takes, ConfigError for a wrong value.

    Attributes: `metas` and `runtime_args` are SimpleNamespaces; `requests` is a dict, endpoint -> function; `logger` is
    one of Python's, whose lines are told as those of the process are.
    """

    metas: SimpleNamespace
    runtime_args: SimpleNamespace
    requests: dict[str, Callable[..., Any]]
    logger = _Logger()
    StandaloneExecutorType = StandaloneExecutorType
    _zflow: _State

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_init(cls)
        if inspect.iscoroutinefunction(cls.close):
            raise TypeError(f"{cls.__name__}.close must not be async: nobody could wait for it")
        check_preload(cls)
        endpoints_of(cls)
        _register(cls)

    def __new__(cls: type[AnyExecutor], *args: Any, **kwargs: Any) -> AnyExecutor:
        """Make an instance that is usable even before, or without, a call of ``__init__``, as dataclasses need."""
        self = super().__new__(cls)
        given = _given(cls, args, kwargs)
        preload_once(cls, given)
        _prepare(self, given)
        return self

    def __init__(
        self,
        metas: Mapping[str, Any] | None = None,
        requests: Mapping[str, str] | None = None,
        runtime_args: Mapping[str, Any] | None = None,
        workspace: str | None = None,
        dynamic_batching: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "_zflow" not in vars(self):
            preload_once(type(self), kwargs)  # another base class has a __new__ of its own
            _prepare(self, {})
        state = self._zflow
        name = type(self).__name__
        if metas is not None:
            state.metas = checked_metas(metas, Place(name, ("metas",)))
            vars(self)["metas"] = _metas(state.metas, name)
        if requests is not None:
            state.requests = checked_requests(requests, Place(name, ("requests",)))
            _answer(self)
        if dynamic_batching is not None:
            batch(self, dynamic_batching)
        if runtime_args is not None:
            state.reached = True
            vars(self)["runtime_args"] = SimpleNamespace(**{**vars(self.runtime_args), **runtime_args})
        if workspace is not None:
            state.workspace = os.fspath(workspace)
        _initialise_others(self, kwargs)

    @property
    def workspace(self) -> str:
        """This instance's own folder, which exists: ``<workspace>/<metas.name>/<shard_id>``.

        ``<workspace>`` is the first one given of: the Flow's or add's (`runtime_args`), the metas', the argument of
        ``__init__``; else ZFLOW_WORKSPACE, else ``~/.cache/zflow``. The name is made safe for a path; outside a Flow
        there is no shard and no last part. Replicas of one shard share the folder. Raises ConfigError where it cannot
        be made. That of the metas is relative to the working directory, if it is relative.
        """
        root = self.runtime_args.workspace or self.metas.workspace or self._zflow.workspace
        parts = [_path_part(self.metas.name or type(self).__name__)]
        if self.runtime_args.shard_id is not None:
            parts.append(_path_part(str(self.runtime_args.shard_id)))
        return _make_folder(root or environment.default_workspace(), parts)

    @contextmanager
    def saving(self, name: str | os.PathLike[str], *, text: bool = False) -> Iterator[IO[Any]]:
        """A file in the workspace to be written whole: ``with self.saving('index.bin') as file: file.write(...)``.

        It takes the place of the former one when the block ends well, and is on the disk then; if it does not, or the
        process is killed, the former one is as it was. text: it takes str instead of bytes. Raises WorkspaceError where
        the disk is full, read-only or broken, ConfigError where `name` leads out of the workspace.
        """
        path = place(self.workspace, name)
        if path.parent not in self._zflow.cleaned:
            self._zflow.cleaned.add(path.parent)
            clean(path.parent)
        with saving(path, text=text) as file:
            yield file

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more for the request that is being served: look now and then in long work.

        It was cancelled, its deadline has passed or its caller is gone. False outside of a Flow. Methods that ``yield``
        need not look: they are not asked for the next item. In an ``async def`` the task is cancelled as well.
        """
        return self._zflow.is_cancelled()

    def endpoint(self, on: str) -> Endpoint | None:
        """Who answers `on`: its own method, else the default one, else None."""
        endpoints = self._zflow.endpoints
        return endpoints.get(on) or endpoints.get(DEFAULT)

    def endpoints(self) -> dict[str, Endpoint]:
        """Everything it answers, by endpoint; ``/default`` answers the rest."""
        return dict(self._zflow.endpoints)

    @classmethod
    def preload(cls, *args: Any, **kwargs: Any) -> None:
        """Called once before any instance is made, for subclasses to override: the place for imports and weights.

        In a Flow it runs in one process, from which all replicas are forked, so that they share what it loaded, and
        what takes long takes long once; a replica that is started again, or added, is forked from there as well. Keep
        what is loaded on the class (``cls.weights = ...``) or in the module, and only read it: pages that a replica
        writes to become its own. Of the arguments of ``__init__`` (`uses_with`) it gets those that it names. It counts
        in `timeout_ready`; what it raises ends the start.

        It must leave no thread running, and not touch a GPU: neither lives on in a forked process. (Numpy's own threads
        are ended in time.) Where it does, a warning says so and each process calls it for itself, as it is with
        ``start_method='spawn'``. An instance made in a script has it called first, once.
        """

    def close(self) -> None:
        """Called once when the Executor's process ends, or its ``with`` block. For subclasses to override."""

    def __enter__(self: AnyExecutor) -> AnyExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._zflow.closed:
            self._zflow.closed = True
            self.close()

    @classmethod
    def serve(
        cls,
        uses_with: Mapping[str, Any] | None = None,
        uses_metas: Mapping[str, Any] | None = None,
        uses_requests: Mapping[str, str] | None = None,
        uses_dynamic_batching: Mapping[str, Any] | None = None,
        stop_event: Any = None,
        **options: Any,
    ) -> None:
        """Serve this Executor behind a gateway, and return when `stop_event` (of threading or multiprocessing) is
        set, on Ctrl-C or SIGTERM. `options` are those of `Flow`, such as ``port=12345``.
        """
        from zflow import flow  # a Flow is made of Executors: the one word that points back

        flow.serve(
            cls,
            uses_with=uses_with,
            uses_metas=uses_metas,
            uses_requests=uses_requests,
            uses_dynamic_batching=uses_dynamic_batching,
            stop_event=stop_event,
            **options,
        )

    to_docker_compose_yaml = staticmethod(to_docker_compose_yaml)
    to_kubernetes_yaml = to_k8s_yaml = staticmethod(to_kubernetes_yaml)

    def save_config(self, path: str | Path) -> None:
        """Write a YAML file that `load_config` makes an equal Executor of: its class's name, the arguments, metas,
        requests and dynamic_batching that were given. What only a Flow knows (`runtime_args`) is left out.

        Raises ConfigError for an argument that YAML cannot hold, naming it.
        """
        from zflow.loading import save  # stands above this module: it needs Executor itself

        save(self, Path(path))

    @classmethod
    def load_config(
        cls: type[AnyExecutor],
        source: str | Path | Mapping[str, Any],
        *,
        context: Mapping[str, Any] | None = None,
        uses_with: Mapping[str, Any] | None = None,
        uses_metas: Mapping[str, Any] | None = None,
        uses_requests: Mapping[str, str] | None = None,
        uses_dynamic_batching: Mapping[str, Any] | None = None,
        py_modules: str | Sequence[str] | None = None,
        runtime_args: Mapping[str, Any] | None = None,
    ) -> AnyExecutor:
        """The Executor that `source` describes: the path of a YAML file, YAML as text, or the same as a dict.

        The `uses_...` win over what stands there, key by key. context: values for ``${{ CONTEXT.x }}``. Raises
        ConfigError, among others where the result is no `cls`.
        """
        from zflow.loading import describe  # stands above this module: it needs Executor itself

        description = describe(
            source,
            uses_with=uses_with,
            uses_metas=uses_metas,
            uses_requests=uses_requests,
            uses_dynamic_batching=uses_dynamic_batching,
            py_modules=py_modules,
            context=context,
        )
        executor = description.build(runtime_args or {})
        if not isinstance(executor, cls):
            raise ConfigError(f"{description} is a {type(executor).__name__}, no {cls.__name__}")
        return executor


_by_name: dict[str, dict[str, type[Executor]]] = {}


def _register(cls: type[Executor]) -> None:
    """The same class made anew (a cell run twice, a dataclass with slots) replaces its former self."""
    same_name = _by_name.setdefault(cls.__name__, {})
    address = f"{cls.__module__}.{cls.__qualname__}"
    same_name.pop(address, None)
    same_name[address] = cls


def registered(name: str) -> type[Executor] | None:
    """The Executor class of that bare name; of several the one defined last, and the log says so."""
    if name in ("Executor", "BaseExecutor"):
        return Executor
    same_name = _by_name.get(name, {})
    if len(same_name) > 1:
        *others, last = same_name
        told = "%d Executor classes are named %s; taking %s, defined last, not %s"
        logging.getLogger("zflow").warning(told, len(same_name), name, last, ", ".join(others))
    return list(same_name.values())[-1] if same_name else None


def registered_names() -> list[str]:
    """The bare names of all Executor classes known in this process."""
    return list(_by_name)


def accepts_injected(cls: type[Executor]) -> bool:
    """Whether ``cls.__init__`` takes what a Flow injects: ``**kwargs``, or all of metas, requests, runtime_args."""
    try:
        parameters = inspect.signature(cls.__init__).parameters
    except ValueError:  # written in C: nothing is known of it
        return True
    return any(item.kind is item.VAR_KEYWORD for item in parameters.values()) or set(INJECTED) <= set(parameters)


def _check_init(cls: type[Executor]) -> None:
    if not accepts_injected(cls):
        raise TypeError(
            f"{cls.__name__}.__init__ must take **kwargs and pass them on, because a Flow adds arguments of its own: "
            "def __init__(self, ..., **kwargs): super().__init__(**kwargs)"
        )


def _given(cls: type[Executor], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as ``__init__`` names them, without what a Flow injects; ``*args`` stay under ``*``."""
    try:
        signature = inspect.signature(cls.__init__)
        bound = dict(signature.bind(None, *args, **kwargs).arguments)
    except (TypeError, ValueError):
        return dict(kwargs)  # __init__ itself will say what is wrong
    given: dict[str, Any] = {}
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.name not in bound:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            given.update(bound[parameter.name])
        else:
            given["*" if parameter.kind is parameter.VAR_POSITIONAL else parameter.name] = bound[parameter.name]
    return {name: value for name, value in given.items() if name not in _OF_OURS}


def _prepare(self: Executor, given: dict[str, Any]) -> None:
    """Into ``__dict__``, because a frozen dataclass refuses to be assigned to."""
    name = type(self).__name__
    runtime_args = SimpleNamespace(name=name, **_RUNTIME_ARGS)
    vars(self).update(_zflow=_State(given), metas=_metas({}, name), runtime_args=runtime_args)
    _answer(self)


def _answer(self: Executor) -> None:
    state = self._zflow
    state.endpoints = endpoints_of(type(self), state.requests, state.batching)
    vars(self)["requests"] = {on: endpoint.function for on, endpoint in state.endpoints.items()}


def batch(self: Executor, table: Any) -> None:
    """Put requests together as `table` says (see zflow.batching). Raises ConfigError."""
    self._zflow.batching = checked_batching(table, Place(type(self).__name__, ("dynamic_batching",)))
    _answer(self)


def _metas(given: Mapping[str, Any], class_name: str) -> SimpleNamespace:
    known = {**dict.fromkeys(METAS, ""), **given}
    return SimpleNamespace(**{**known, "name": known["name"] or class_name})


def _initialise_others(self: Executor, arguments: dict[str, Any]) -> None:
    """Hand what is left to the classes behind Executor in the order of inheritance; refuse it where there are none."""
    order = type(self).__mro__
    behind = order[order.index(Executor) + 1 :]
    following = next(cls for cls in behind if "__init__" in vars(cls))
    if following is not object and _would_take(following, arguments):
        super(Executor, self).__init__(**arguments)
    elif arguments:
        wrong = next(iter(arguments))
        known = set(itertools.chain.from_iterable(map(_parameters, order)))
        raise TypeError(f"{type(self).__name__} takes no argument {wrong!r}: {nearest(wrong, known)}")


def _would_take(cls: type, arguments: Mapping[str, Any]) -> bool:
    """Whether ``cls.__init__`` can be called with `arguments`; where not even without, the subclass itself calls it."""
    try:
        inspect.signature(vars(cls)["__init__"]).bind(None, **arguments)
    except TypeError:
        return False
    except ValueError:  # written in C: nothing is known of it
        return True
    return True


def _parameters(cls: type) -> Iterable[str]:
    """The named parameters of a class's own ``__init__``."""
    init = vars(cls).get("__init__")
    if not isinstance(init, FunctionType):
        return ()
    _, *parameters = inspect.signature(init).parameters.values()
    return [item.name for item in parameters if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]


def checked_metas(metas: Any, place: Place) -> dict[str, Any]:
    """`metas` (a map or a namespace) as a dict. Raises ConfigError for a wrong key or value, naming it."""
    given = dict(vars(metas)) if isinstance(metas, SimpleNamespace) else metas
    if not isinstance(given, Mapping):
        raise place.fault(f"expected a map with some of {', '.join(METAS)}, got {shown(given)}")
    for key, value in given.items():
        if key not in METAS:
            raise place.down(key).fault(f"unknown key {shown(key)}: {nearest(str(key), METAS)}")
        texts = value if key == "py_modules" and isinstance(value, (list, tuple)) else (value,)
        if value is not None and not all(isinstance(text, (str, os.PathLike)) for text in texts):
            raise place.down(key).fault(f"expected text, got {shown(value)}")
    return {key: _as_text(value) for key, value in given.items() if value is not None}


def _as_text(value: Any) -> Any:
    return [os.fspath(item) for item in value] if isinstance(value, (list, tuple)) else os.fspath(value)


def checked_requests(requests: Any, place: Place) -> dict[str, str]:
    """`requests` (endpoint -> method name) as a dict. Raises ConfigError for a wrong key or value, naming it."""
    if not isinstance(requests, Mapping):
        raise place.fault(f"expected a map of endpoints to method names, got {shown(requests)}")
    for on, method in requests.items():
        if problem := endpoint_problem(on):
            raise place.fault(problem)
        if not isinstance(method, str) or not method.isidentifier():
            raise place.down(on).fault(f"expected the name of a method, got {shown(method)}")
    return dict(requests)


def _path_part(name: str) -> str:
    """`name` where it may be a folder's name; else a safe form that no other name shares."""
    if _PATH_PART.fullmatch(name):
        return name
    return f"{re.sub('[^A-Za-z0-9_-]+', '_', name)[:48]}-{zlib.crc32(name.encode('utf-8', 'replace')):08x}"


def _make_folder(root: str, parts: Sequence[str]) -> str:
    try:
        base = Path(root).absolute()
        if base.resolve() == Path(base.anchor):
            raise ConfigError(f"workspace {root!r} is the root of the file system; give it a folder of its own")
        folder = base.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"workspace {root!r:.200} cannot be used: {error}") from error
    return str(folder)
