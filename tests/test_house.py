"""The house stays in order: imports point one way, every concept has its room and its test, `import zflow` is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import zflow
from zflow import errors

PACKAGE = Path(zflow.__file__).parent
TESTS = Path(__file__).parent

# What may import what: a room may use those of earlier floors, and its own as long as no circle arises.
FLOORS = [
    ["errors", "version", "terminal", "tracebacks"],
    ["documents", "topology"],
    [
        "executor",
        "endpoints",
        "batching",
        "importing",
        "loading",
        "preloading",
        "saving",
        "standalone",
        "wire",
        "config",
    ],
    ["roles", "exports"],
    ["drivers"],
    [
        "processes",
        "client",
        "asking",
        "inputs",
        "posting",
        "probing",
        "overview",
        "error_page",
        "progress",
        "response",
        "banner",
        "scaffold",
    ],
    ["hub", "service", "review", "watching", "renewing", "exporting"],
    ["developing", "bundling"],
    ["elsewhere"],
    ["flow", "deployment"],
    ["asynchronous", "doctor"],
    ["cli"],
    ["__init__", "__main__"],
]
# The words that point back, each imported where it is used: a served Executor is a Flow, what it is made of may have to
# be fetched, and asking for `asyncio=True` is how one gets the asynchronous kind, whose room costs too much before.
POINTS_BACK = {
    ("zflow.executor", "zflow.flow"),
    ("zflow.loading", "zflow.hub.contents"),
    ("zflow.loading", "zflow.hub.fetching"),
    ("zflow.loading", "zflow.hub.requirements"),
    ("zflow.standalone", "zflow.exporting"),
    ("zflow.client", "zflow.asynchronous"),
    ("zflow.flow", "zflow.asynchronous"),
    ("zflow.deployment", "zflow.asynchronous"),
}
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

MODULE_LINES = 450
FUNCTION_LINES = 60

# What only passes on what others hold: every `__init__` (the public names are tested below) and `python -m zflow`.
WITHOUT_TESTS = {"__init__.py", "__main__.py"}
# Tests that mirror no module: of this house, of the tests' own machinery, of whole processes.
WITHOUT_MODULE = {"test_house", "test_conftest"}
OTHER_ROOMS = {"bench", "end_to_end", "examples", "fuzz", "hostile", "protocol", "support"}

EXPENSIVE = {"numpy", "yaml", "click", "watchfiles", "asyncio", "cloudpickle", "multiprocessing", "concurrent.futures"}

PUBLIC = [
    "AsyncClient",
    "AuthError",
    "CallbackError",
    "Cancelled",
    "Client",
    "ConfigError",
    "DeadlineExceeded",
    "Deployment",
    "Document",
    "DocumentArray",
    "Executor",
    "ExecutorError",
    "Flow",
    "HubError",
    "InvalidDocument",
    "InvalidRequest",
    "PoisonRequest",
    "PortInUse",
    "ProtocolError",
    "RemoteError",
    "ResourceExhausted",
    "Response",
    "StartError",
    "TopologyError",
    "Unavailable",
    "UnsupportedRequest",
    "WorkspaceError",
    "ZflowError",
    "__version__",
    "dynamic_batching",
    "requests",
]


class Module(NamedTuple):
    """One module of the package. name: as it is imported; path: below the package."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def room(self) -> str:
        """The folder or module of the package's top level that it belongs to."""
        first = self.path.parts[0]
        return first if len(self.path.parts) > 1 else first.removesuffix(".py")

    @property
    def package(self) -> str:
        """What a relative import starts from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def _module(path: Path) -> Module:
    source = path.read_text("utf-8")
    below = path.relative_to(PACKAGE)
    parts = ["zflow", *below.with_suffix("").parts]
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, below, ast.parse(source, str(path)), source.count("\n"))


MODULES = [_module(path) for path in sorted(PACKAGE.rglob("*.py"))]
NAMES = {module.name for module in MODULES}
each_module = pytest.mark.parametrize("module", MODULES, ids=[module.name for module in MODULES])


def _imported(module: Module, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    above = module.package.split(".")
    base = [*above[: len(above) - node.level + 1]] if node.level else []
    base += [node.module] if node.module else []
    for alias in node.names:
        inner = ".".join([*base, alias.name])
        yield inner if inner in NAMES else ".".join(base)


def _all_imports(module: Module) -> list[tuple[str, int]]:
    """Every module that `module` imports, wherever in it, with the line; also those for type checkers only."""
    nodes = [node for node in ast.walk(module.tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return [(name, node.lineno) for node in nodes for name in _imported(module, node)]


def _first_imports(module: Module) -> set[str]:
    """Those of ours that are imported along with `module`, before anything is used."""
    nodes = [node for node in module.tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {name for node in nodes for name in _imported(module, node)} & NAMES


IMPORTS = {module.name: _all_imports(module) for module in MODULES}


def floor_of(name: str) -> int:
    """The floor of an imported module of ours; `import zflow` itself is the top one."""
    parts = name.split(".")
    return FLOOR[parts[1]] if len(parts) > 1 else FLOOR["__init__"]


# -- imports -----------------------------------------------------------------------------------------------------------


def test_the_package_is_looked_at():
    assert {"zflow", "zflow.errors", "zflow.roles.head", "zflow.drivers.sockets"} <= NAMES


def test_every_room_has_its_floor():
    assert {module.room for module in MODULES} <= FLOOR.keys()


@each_module
def test_imports_point_down_the_house(module):
    own = FLOOR[module.room]
    ours = [(name, line) for name, line in IMPORTS[module.name] if name.split(".")[0] == "zflow"]
    upwards = [
        f"line {line}: {name}" for name, line in ours if floor_of(name) > own and (module.name, name) not in POINTS_BACK
    ]
    assert upwards == []


def test_every_word_that_points_back_is_still_spoken():
    spoken = {(module, name) for module, imported in IMPORTS.items() for name, _ in imported}
    assert POINTS_BACK <= spoken


def test_no_module_is_imported_by_what_it_imports():
    after = {module.name: _first_imports(module) for module in MODULES}
    while after:
        free = {name for name, needed in after.items() if not needed & after.keys()}
        assert free, f"these import each other in a circle: {', '.join(sorted(after))}"
        after = {name: needed for name, needed in after.items() if name not in free}


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("zmq", {"drivers"}),
        ("cloudpickle", {"processes"}),
        ("yaml", {"config"}),
        ("click", {"cli"}),
        ("multiprocessing", {"processes"}),
        ("subprocess", {"processes"}),
    ],
)
def test_a_library_is_used_in_its_own_room_only(library, rooms):
    users = {module.room for module in MODULES for name, _ in IMPORTS[module.name] if name.split(".")[0] == library}
    assert users <= rooms


@each_module
def test_no_module_can_run_foreign_bytes(module):
    forbidden = {"pickle", "marshal", "shelve", "dill", "joblib", "torch", "msgpack_numpy"}
    assert {name.split(".")[0] for name, _ in IMPORTS[module.name]} & forbidden == set()
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    called = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    assert {"eval", "exec", "__import__"} & set(called) == set()
    for call in calls:
        if isinstance(call.func, ast.Attribute):
            told = ast.unparse(call.func)
            assert told not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"), f"line {call.lineno}: {told}"
            assert call.func.attr not in ("recv_pyobj", "send_pyobj"), f"line {call.lineno}: {told}"
            allowed = [
                word for word in call.keywords if word.arg == "allow_pickle" and ast.unparse(word.value) != "False"
            ]
            assert allowed == [], f"line {call.lineno}: {told}"


@each_module
def test_the_environment_is_read_in_one_room(module):
    """Writing it is the business of whoever becomes another process."""
    if module.room == "config":
        return
    nodes = list(ast.walk(module.tree))
    written = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr == "update"}
    read = [node for node in nodes if isinstance(node, ast.Attribute) and id(node) not in written]
    words = ("os.environ", "os.environb", "os.getenv")
    assert [f"line {node.lineno}" for node in read if ast.unparse(node) in words] == []
    assert [
        name for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "os" for name in _words(node)
    ] == []


def _words(node: ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names if alias.name in ("environ", "environb", "getenv")]


# -- rooms -------------------------------------------------------------------------------------------------------------


@each_module
def test_a_module_says_what_it_is_for_and_is_not_too_long(module):
    assert ast.get_docstring(module.tree)
    assert module.lines <= MODULE_LINES


@each_module
def test_a_function_fits_a_screen(module):
    long = [
        f"{node.name}: {size} lines"
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (size := _lines(node)) > FUNCTION_LINES
    ]
    assert long == []


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its lines without the docstring, which the manual is made of."""
    assert function.end_lineno is not None
    told = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (told.count("\n") + 1 if told else 0)


def test_no_room_is_for_odds_and_ends():
    words = {"helper", "helpers", "util", "utils", "common", "manager", "base", "mixin", "misc"}
    assert {name for name in NAMES if words & set(name.replace("_", ".").split("."))} == set()


def _expected_test(module: Module) -> str:
    return str(module.path.with_name(f"test_{module.path.name}"))


def test_every_module_has_its_tests_in_the_same_place():
    expected = {_expected_test(module) for module in MODULES if module.path.name not in WITHOUT_TESTS}
    assert sorted(path for path in expected if not (TESTS / path).exists()) == []


@each_module
def test_a_front_door_holds_nothing_itself(module):
    """`__init__` imports, names what is public, and may fetch the names when they are asked for."""
    if module.path.name != "__init__.py":
        return
    kinds = (ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
    held = [node for node in module.tree.body if not isinstance(node, kinds) and not _is_for_type_checkers(node)]
    assert [getattr(node, "name", node.lineno) for node in held] in ([], ["__getattr__", "__dir__"])


def _is_for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def test_every_test_module_has_its_module_in_the_same_place():
    mirrored = {_expected_test(module) for module in MODULES}
    written = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    stray = {str(path) for path in written if path.parts[0] not in OTHER_ROOMS and path.stem not in WITHOUT_MODULE}
    assert stray - mirrored == set()


# -- the front door ----------------------------------------------------------------------------------------------------


def test_the_public_names_are_these():
    assert sorted(zflow.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(zflow, name) is not None


def test_every_error_of_ours_is_public():
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert kinds <= set(PUBLIC)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Flo'"):
        zflow.Flo  # noqa: B018


def _run(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout


def test_importing_zflow_brings_nothing_that_is_expensive():
    loaded = set(_run("import sys, zflow; print(*sys.modules)").split())
    assert "zflow" in loaded
    assert loaded & EXPENSIVE == set()


def test_a_public_name_is_fetched_when_it_is_asked_for_and_is_what_its_room_has():
    told = _run(
        "import sys, zflow\n"
        "print({'zflow.flow', 'zmq'} & set(sys.modules), 'Flow' in dir(zflow), 'Flow' in vars(zflow))\n"
        "print(zflow.Flow is sys.modules['zflow.flow'].Flow, 'Flow' in vars(zflow))"
    )
    assert told.splitlines() == ["set() True False", "True True"]


def test_type_checkers_are_told_of_every_public_name():
    [door] = [module for module in MODULES if module.name == "zflow"]
    told = [node for node in ast.walk(door.tree) if isinstance(node, ast.ImportFrom) and node.module != "typing"]
    assert {alias.name for node in told for alias in node.names} - {"import_module"} == set(PUBLIC)


def test_importing_zflow_has_no_side_effects():
    told = _run(
        "import os, signal, sys, threading\n"
        "def state(): return (sorted(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else None,\n"
        "    threading.active_count(), [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)],\n"
        "    dict(os.environ), os.getcwd(), sys.path[:])\n"
        "before = state()\n"
        "import zflow\n"
        "print(before == state())"
    )
    assert told.strip() == "True"


def test_every_test_module_tells_what_it_shows():
    silent = [
        str(path.relative_to(TESTS))
        for path in TESTS.rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


# -- time --------------------------------------------------------------------------------------------------------------

BY_THE_WALL = {"developing", "processes/socket_directory"}  # they compare with the times of files


@each_module
def test_no_decision_goes_by_the_clock_on_the_wall(module):
    """Who sets the clock, or takes the laptop to another zone, must not end anybody's request."""
    if str(module.path.with_suffix("")) in BY_THE_WALL:
        return
    asked = {ast.unparse(node) for node in ast.walk(module.tree) if isinstance(node, ast.Attribute)}
    assert asked.isdisjoint({"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"})
