"""The public functions of the running Python's standard library, and the text each is searched by.

"Function" is meant as the manual means it: functions, methods, and classes with a lower-case name that are called
like functions (`zip`, `itertools.permutations`, `contextlib.closing`). Every function appears once, under the name it
is documented by, in an order that depends on nothing but the Python version and what was built into it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import io
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

SKIPPED = {
    "antigravity": "opens a browser",
    "this": "prints",
    "idlelib": "an application",
    "turtledemo": "an application",
    "ensurepip": "an application",
    "venv": "an application",
    "tkinter": "needs a display, and is not built everywhere",
    "turtle": "needs a display",
    "readline": "changes the terminal",
    "rlcompleter": "changes the terminal",
    "test": "tests",
    "encodings": "one codec after another, used through codecs",
    "pydoc_data": "the manual's own text",
    "posix": "listed as os",
    "nt": "listed as os",
    "posixpath": "listed as os.path",
    "ntpath": "listed as os.path",
    "genericpath": "listed as os.path",
} | dict.fromkeys(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib".split(),
    "gone from newer Pythons: nobody should be led there",
)
EXTRA_SUBMODULES = {"os": ["path"]}  # submodules that are no file in a package
FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools._lru_cache_wrapper)
METHODS = (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.ClassMethodDescriptorType)
SIGNATURE = re.compile(r"^[\w.]+\(.*\)( *(->|=>|:).*)?$")  # "getpid() -> int" tells nothing about the purpose
FEWEST, MOST = 8, 40  # words


@dataclass(frozen=True)
class Function:
    name: str  # "shutil.rmtree", "pathlib.Path.glob"; without a module for builtins: "zip", "str.split"
    doc: str  # the docstring, unindented

    @property
    def text(self) -> str:
        """What is embedded: the name in words, for it says what the docstring takes for granted, then the purpose."""
        return f"{_spoken(self.name)}: {_purpose(self.doc)}"


def public_functions() -> tuple[list[Function], int]:
    """Every documented public function that can be had on this machine, and the number of modules looked into."""
    found: dict[int, Function] = {}
    modules = 0
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # deprecated modules and attributes are part of the library all the same
        for label, module in _modules():
            modules += 1
            for name, function in _functions(label, module):
                doc = inspect.cleandoc(function.__doc__ or "")
                if doc and id(function) not in found:
                    found[id(function)] = Function(name.removeprefix("builtins."), doc)
    return list(found.values()), modules


def _modules() -> Iterator[tuple[str, types.ModuleType]]:
    """(name, module); the name is that in the manual, which os.path and collections.abc do not bear themselves."""
    for name in sorted(sys.stdlib_module_names):
        if not name.startswith("_") and name not in SKIPPED:
            yield from _with_submodules(name)


def _with_submodules(name: str) -> Iterator[tuple[str, types.ModuleType]]:
    try:
        module = importlib.import_module(name)
    except Exception:  # another system's module, or one this Python was built without
        return
    yield name, module
    children = [child.name for child in pkgutil.iter_modules(getattr(module, "__path__", []))]
    for child in sorted(children + EXTRA_SUBMODULES.get(name, [])):
        if not child.startswith("_") and child not in ("test", "tests"):
            yield from _with_submodules(f"{name}.{child}")


def _functions(label: str, module: types.ModuleType) -> Iterator[tuple[str, object]]:
    """(name, function); functions before methods, so that random.choice is not called random.Random.choice."""
    members = _public_members(module)
    classes = [(name, value) for name, value in members if inspect.isclass(value)]
    for name, value in members:
        if isinstance(value, FUNCTIONS) or (inspect.isclass(value) and name.islower()):
            yield f"{label}.{name}", getattr(value, "__func__", value)
    for name, value in classes:
        for method, raw in sorted(vars(value).items()):
            function = getattr(raw, "__func__", raw)  # what a classmethod or staticmethod wraps
            if not method.startswith("_") and isinstance(function, METHODS):
                yield f"{label}.{name}.{method}", function


def _public_members(module: types.ModuleType) -> list[tuple[str, object]]:
    """What `__all__` names, else what was made here or in the module's C half; aliases after the true names."""
    names = getattr(module, "__all__", None)
    if names is None:
        homes = (module.__name__, f"_{module.__name__}")
        names = [name for name, value in vars(module).items() if getattr(value, "__module__", None) in homes]
    members = [(name, getattr(module, name, None)) for name in names if not name.startswith("_")]
    return sorted(members, key=lambda member: (getattr(member[1], "__name__", "") != member[0], member[0]))


def _spoken(name: str) -> str:
    """Names as words: "shutil.copy_file" is "shutil copy file", "pathlib.PurePath" is "pathlib Pure Path"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace(".", " ").replace("_", " ")


def _purpose(doc: str) -> str:
    """The first paragraphs that say something, FEWEST to MOST words, without lines that only repeat a signature.

    What a function is for stands there; what follows is about arguments and corner cases, and dilutes the meaning: on
    a set of other questions, 60 words of each docstring found less than its first paragraph, and took twice as long
    to embed.
    """
    words: list[str] = []
    for paragraph in doc.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if not SIGNATURE.match(line.strip())]
        words += " ".join(lines).split()
        if len(words) >= FEWEST:
            break
    return " ".join(words[:MOST])
