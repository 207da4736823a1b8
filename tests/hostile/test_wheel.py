"""What the wheel contains cannot run what it was sent: no module names what turns bytes into code or objects."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "joblib", "torch", "msgpack_numpy", "tarfile", "zipfile"}
CALLS = {"eval", "exec", "__import__", "recv_pyobj", "send_pyobj", "unpack_archive"}
LOADERS = {"load", "load_all", "full_load", "unsafe_load", "Loader", "FullLoader", "UnsafeLoader"}
# The classes of a script travel to its own children, by value, over a pipe that only they have (DESIGN, processes).
# Of an archive the headers alone are read by the library, one by one; who could unpack it is not named there. A bundle
# is written, and of wheels that pip has brought the names of what is in them are read.
PRIVATE = {
    "zflow/processes/parcel.py": {"cloudpickle"},
    "zflow/hub/archive.py": {"tarfile"},
    "zflow/bundling.py": {"tarfile"},
    "zflow/processes/wheels.py": {"zipfile"},
}


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """The text of each module that setup.py puts into the wheel: all of the package, by its name there."""
    return {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in (ROOT / "zflow").rglob("*.py")}


def forbidden(text: str, allowed: frozenset[str] = frozenset()) -> Iterator[str]:
    """What of `text` must not be there, with its line."""
    for node in ast.walk(ast.parse(text)):
        told = set(_told(node)) - allowed
        yield from (f"{getattr(node, 'lineno', 0)}: {word}" for word in told)


def _told(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if _is_forbidden(alias.name))
    elif isinstance(node, ast.ImportFrom) and node.module and _is_forbidden(node.module):
        yield node.module
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        yield node.func.id
    elif isinstance(node, ast.Attribute):
        if node.attr in CALLS and not isinstance(node.value, ast.Constant):
            yield node.attr
        elif node.attr in LOADERS and isinstance(node.value, ast.Name) and node.value.id == "yaml":
            yield f"yaml.{node.attr}"
    elif isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell"):
        if not (isinstance(node.value, ast.Constant) and node.value.value is False):
            yield f"{node.arg}="


def _is_forbidden(module: str) -> bool:
    return module.partition(".")[0] in MODULES | {"cloudpickle"}


def test_no_module_of_the_wheel_can_run_what_it_was_sent(sources: dict[str, str]) -> None:
    found = {
        name: told
        for name, text in sources.items()
        if (told := list(forbidden(text, frozenset(PRIVATE.get(name, ())))))
    }
    assert found == {}


def test_what_is_allowed_is_still_needed(sources: dict[str, str]) -> None:
    assert {name: set(words) for name, words in PRIVATE.items()} == {
        name: {told.rpartition(" ")[2] for told in forbidden(sources[name])} for name in PRIVATE
    }


def test_archives_are_not_unpacked_by_what_follows_links(sources: dict[str, str]) -> None:
    named = {
        node.attr for node in ast.walk(ast.parse(sources["zflow/hub/archive.py"])) if isinstance(node, ast.Attribute)
    }
    assert {"TarInfo", "frombuf"} <= named
    assert named & {"TarFile", "extract", "extractall", "extractfile", "is_tarfile"} == set()


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "import torch.serialization",
        "eval(x)",
        "exec(x)",
        "socket.recv_pyobj()",
        "yaml.load(x)",
        "yaml.unsafe_load(x)",
        "numpy.load(x, allow_pickle=True)",
        "subprocess.run(x, shell=True)",
        "def f():\n    import marshal",
    ],
)
def test_what_is_looked_for_is_found(text: str) -> None:
    assert list(forbidden(text))


def test_what_is_harmless_is_not() -> None:
    assert not list(forbidden("json.load(x); numpy.load(x, allow_pickle=False); re.compile(x)"))
