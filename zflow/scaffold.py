"""What `zflow new` begins with: the files of an Executor, and of a Flow around one, that run and pass their tests.

The templates are files of zflow/templates. In them, and in their names, ``@NAME@`` is the class, ``@FLOW@`` the Flow
and ``@MODULE@`` the name in small letters. Nothing that is there already is ever overwritten.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from zflow.errors import ConfigError, nearest

KINDS = ("executor", "flow")
_PLACEHOLDER = re.compile("@([A-Z]+)@")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_RESERVED = ("Executor", "BaseExecutor", "Flow", "Deployment")
_DOCKERFILE = "Dockerfile"


class Scaffold(NamedTuple):
    """folder: where the files are. files: those that were written, relative to it. next_steps: commands, and what each
    is for."""

    folder: Path
    files: tuple[Path, ...]
    next_steps: tuple[tuple[str, str], ...]


def new(kind: str, name: str, folder: str | Path | None = None, *, dockerfile: bool = False) -> Scaffold:
    """Write the files of a new Executor or Flow called `name` into `folder` (default: one of that name, here).

    dockerfile: with one to make an image of an Executor. Raises ConfigError for a name that cannot be a class's, and,
    before anything is written, for files that are there already, naming them.
    """
    if kind not in KINDS:
        raise ConfigError(f"nothing new is called {kind!r:.80}: {nearest(kind, KINDS)}")
    words = _words(kind, name)
    root = Path(folder if folder is not None else name)
    templates = Path(__file__).parent / "templates"
    texts = _filled(templates / "executor", words)
    if kind == "flow":
        del texts[Path("README.md")]  # it has one of its own
        texts = {
            **{Path(words["MODULE"], path): text for path, text in texts.items()},
            **_filled(templates / kind, words),
        }
    if not dockerfile:
        texts = {path: text for path, text in texts.items() if path.name != _DOCKERFILE}
    _write(root, texts)
    return Scaffold(root, tuple(texts), _next_steps(kind, root))


def _next_steps(kind: str, root: Path) -> tuple[tuple[str, str], ...]:
    served = "executor --uses config.yml --port-in 12345 --reload"
    return (
        *([(f"cd {_quoted(str(root))}", "")] if root.resolve() != Path.cwd() else []),
        ("python -m pytest", "its tests pass"),
        (f"zflow {served if kind == 'executor' else 'flow --uses flow.yml --reload --restart'}", "serve it"),
        ("zflow client call localhost:12345 /shout --text hello", "call it, from another terminal"),
    )


def _words(kind: str, name: str) -> dict[str, str]:
    """What stands for the placeholders. Raises ConfigError for a name that cannot be made a class of."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r:.80} cannot name a class: use letters, digits, '-' and '_', not a digit first")
    parts = re.split("[-_]+", name)
    camel = "".join(part[:1].upper() + part[1:] for part in parts)
    snake = re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", "_".join(filter(None, parts))).lower()
    if keyword.iskeyword(camel) or camel in _RESERVED:
        raise ConfigError(f"{name!r} means something else to Python or zflow; choose another name")
    own = {"NAME": camel, "FLOW": camel, "MODULE": snake}
    return own if kind == "executor" else {**own, "NAME": f"{camel}Executor", "MODULE": f"{snake}_executor"}


def _filled(folder: Path, words: Mapping[str, str], below: Path = Path()) -> dict[Path, str]:
    """Path -> text of every file of a template."""
    texts: dict[Path, str] = {}
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        path = below / _replaced(item.name.removesuffix(".txt"), words)
        if item.is_dir():
            texts.update(_filled(item, words, path))
        elif item.name.endswith(".txt"):
            texts[path] = _replaced(item.read_text("utf-8"), words)
    return texts


def _replaced(text: str, words: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda found: words[found[1]], text)


def _write(root: Path, texts: Mapping[Path, str]) -> None:
    there = [str(root / path) for path in texts if (root / path).exists() or (root / path).is_symlink()]
    if there:
        raise ConfigError(f"there already: {', '.join(there)}; nothing was written. Give another name, or --dir")
    try:
        for path, text in texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            with open(root / path, "x", encoding="utf-8") as file:  # x: what came meanwhile is not overwritten either
                file.write(text)
    except OSError as error:
        raise ConfigError(f"{error.filename or root} cannot be written: {error.strerror}") from error


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
