"""A registry for the tests of a module, an Executor to push, and a cache of its own for each test."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.registry import RegistryServer, registry
from zflow.hub.cache import Cache
from zflow.terminal import Screen

EXECUTOR = '''"""An Executor for tests."""
from pathlib import Path

from zflow import Executor, requests

Path(__file__).with_name("imported").touch()


class Shout(Executor):
    @requests(on="/shout")
    def shout(self, docs, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper()
'''
CONFIG = "jtype: Shout\nmetas:\n  name: shout\n  description: loud\n  py_modules: [executor.py]\n"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal that somebody looks at, without rich."""
    shown = type("Terminal", (io.StringIO,), {"isatty": lambda self: True})()
    monkeypatch.setattr("zflow.progress.Screen", lambda stream: Screen(stream or shown))
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setenv("COLUMNS", "120")
    return shown


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The package of an Executor."""
    made = tmp_path / "shout"
    (made / "model").mkdir(parents=True)
    (made / "config.yml").write_text(CONFIG)
    (made / "executor.py").write_text(EXECUTOR)
    (made / "requirements.txt").write_text("numpy>=1.23\n")
    (made / "model" / "weights.bin").write_bytes(bytes(range(256)) * 64)
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Clean, and nobody is logged in."""
    monkeypatch.setenv("ZFLOW_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("ZFLOW_HUB", raising=False)
    return Cache()
