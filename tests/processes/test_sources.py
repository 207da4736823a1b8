"""The files of an Executor: its class's, its py_modules, and what they import that is neither ours nor Python's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zflow import importing
from zflow.loading import ExecutorDescription, describe
from zflow.processes.sources import sources_of


@pytest.fixture(autouse=True)
def untouched_interpreter(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(importing, "_brought", {})
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def sources(description: ExecutorDescription, folder: Path) -> tuple[set[str], set[str]]:
    """What of them is in `folder`, relative to it; this test itself is made of files, too."""
    found = sources_of(description)
    return tuple(
        {str(Path(path).relative_to(folder)) for path in paths if Path(path).is_relative_to(folder)} for paths in found
    )


def test_a_file_its_folder_and_what_it_imports(tmp_path):
    write(tmp_path, home__mine="import beside\nfrom zflow import Executor\nclass Mine(Executor): ...")
    write(tmp_path, home__beside="", away__more="import numpy, json")
    modules = [str(tmp_path / "away/more.py"), str(tmp_path / "home/mine.py")]
    description = describe("Mine", py_modules=modules)
    found = {"home/mine.py", "home/beside.py", "away/more.py"}
    assert sources(description, tmp_path) == (found, {"home"})
    files, folders = sources_of(description)
    assert not [path for path in files if "site-packages" in path or "/json/" in path or "/zflow/zflow/" in path]


def test_of_a_package_it_is_the_topmost_folder(tmp_path):
    (tmp_path / "top" / "inner").mkdir(parents=True)
    for name in ("top", "top/inner"):
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "top/inner/mine.py").write_text("from zflow import Executor\nclass Mine(Executor): ...")
    description = describe("Mine", py_modules=[str(tmp_path / "top/inner/mine.py")])
    files, folders = sources(description, tmp_path)
    assert folders == {"top"} and "top/inner/mine.py" in files


def test_a_package_among_the_modules_counts_as_a_whole(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("from zflow import Executor\nclass Mine(Executor): ...")
    description = describe("Mine", py_modules=[str(tmp_path / "pack")])
    assert sources(description, tmp_path) == ({"pack/__init__.py"}, {"pack"})


def test_what_is_ours_is_not_watched():
    files, folders = sources_of(describe(None))
    assert folders == [] and not [path for path in files if path.endswith("zflow/executor.py")]
