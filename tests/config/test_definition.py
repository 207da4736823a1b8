"""What `uses` may be, in its one form."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from zflow.config.definition import (
    Folder,
    checked_definition,
    checked_modules,
    checked_uses,
    importable_address,
    is_container,
    is_definition,
    is_file,
    modules_relative_to,
    relative_to,
)
from zflow.config.places import Place
from zflow.errors import ConfigError
from zflow.executor import Executor

PLACE = Place("flow.yml", ("uses",), {("uses",): 3})


class Importable(Executor): ...


@pytest.mark.parametrize(
    ("uses", "form"),
    [
        (None, None),
        (Executor, None),
        ("Executor", None),
        ("BaseExecutor", None),
        (Importable, Importable),
        ("Importable", "Importable"),
        ("Unknown", "Unknown"),
        ("pkg.module:Class", "pkg.module:Class"),
        ("pkg.module.Class", "pkg.module:Class"),
        ("exec.yml", "/folder/exec.yml"),
        ("sub/../exec.YAML", "/folder/exec.YAML"),
        ("../exec.yml", "/exec.yml"),
        ("/abs/exec.yml", "/abs/exec.yml"),
        (Path("exec.conf"), "/folder/exec.conf"),
        ("exec.py:Mine", {"jtype": "Mine", "metas": {"py_modules": ["/folder/exec.py"]}}),
        ("./a b/exec.py:Mine", {"jtype": "Mine", "metas": {"py_modules": ["/folder/a b/exec.py"]}}),
        ("/abs/exec.py:Mine", {"jtype": "Mine", "metas": {"py_modules": ["/abs/exec.py"]}}),
        ("jtype: A", {"jtype": "A"}),
        (" \n!A\nwith: {x: on}", {"jtype": "A", "with": {"x": "on"}}),
        ({"jtype": "A", "with": None, "metas": {}}, {"jtype": "A"}),
    ],
)
def test_every_way_to_say_it_has_one_form_which_stays(uses: Any, form: Any) -> None:
    folder = Folder(Path("/folder"))
    assert checked_uses(uses, folder, PLACE) == form
    assert checked_uses(form, Folder(Path("/other")), PLACE) == form


def test_a_definition_keeps_what_was_given_with_absolute_modules_in_one_place() -> None:
    given = {
        "jtype": "A",
        "with": {"x": 1},
        "metas": {"name": "Dynamic Name", "py_modules": "a.py"},
        "requests": {"/index": "foo"},
        "py_modules": ["b.py", "pkg.mod", "a.py"],
        "workspace": "here",
    }
    assert checked_definition(given, Folder(Path("/folder")), PLACE) == {
        "jtype": "A",
        "with": {"x": 1},
        "metas": {
            "name": "Dynamic Name",
            "py_modules": ["/folder/a.py", "/folder/b.py", "pkg.mod"],
            "workspace": "here",
        },
        "requests": {"/index": "foo"},
    }
    assert given["metas"] == {"name": "Dynamic Name", "py_modules": "a.py"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"jtype": "A", "dynamic_batchin": {}}, "flow.yml:3 uses.dynamic_batchin: unknown key"),
        (
            {"jtype": "A", "dynamic_batching": {"/a": {"time": 1}}},
            "flow.yml:3 uses.dynamic_batching['/a'].time: unknown",
        ),
        ({"jtype": "A", "with": {"dynamic_batching": {}}}, "dynamic_batching is no argument of your __init__"),
        ({"jtype": "builtins.dict"}, "flow.yml:3 uses.jtype: expected the bare name"),
        ({"jtype": ["A"]}, "uses.jtype: expected the bare name"),
        ({}, "uses.jtype: the definition names no class"),
        (
            {"jtype": "Flow", "executors": []},
            'uses.jtype: expected the class of an Executor, got "Flow"; a Flow is served',
        ),
        ({"jtype": "A", "with": {"runtime_args": {}}}, "uses.with.runtime_args: runtime_args is no argument"),
        ({"jtype": "A", "metas": {"names": "x"}}, "uses.metas.names: unknown key \"names\": did you mean 'name'?"),
        ({"jtype": "A", "metas": [1]}, "uses.metas: expected a map"),
        ({"jtype": "A", "requests": {"index": "foo"}}, "uses.requests: 'index' is no endpoint: write '/index'"),
        ({"jtype": "A", "requests": {"/index": 3}}, "uses.requests['/index']: expected the name of a method"),
        ({"jtype": "A", "py_modules": [3]}, "uses.py_modules[0]: expected a file"),
        ({"jtype": "A", "metas": {"py_modules": [3]}}, "uses.metas.py_modules: expected text"),
        ([1], "flow.yml:3 uses: expected the definition of an Executor"),
    ],
)
def test_a_fault_in_a_definition_has_an_address(given: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked_definition(given, Folder(Path("/folder")), PLACE)
    assert told in str(caught.value)


def test_definitions_files_and_names_are_told_apart() -> None:
    assert all(is_definition(text) for text in ("!A", "\n jtype: A", "with: {}\njtype: A", '{"jtype": "A"}'))
    assert not any(is_definition(text) for text in ("A", "a.yml", "a:B", ""))
    assert all(is_file(text) for text in ("a.yml", "a.YAML", "a.jaml", "a.json", "/a"))
    assert not any(is_file(text) for text in ("a", "a.b", ""))


def test_a_class_in_a_file_is_no_yaml_file_and_a_file_outside_is_refused(tmp_path: Path) -> None:
    assert not is_file("/abs/exec.py:Mine")
    with pytest.raises(ConfigError, match="lies outside of"):
        checked_uses("../exec.py:Mine", Folder(tmp_path, confined=True), PLACE)
    with pytest.raises(ConfigError, match="exec.py:MyExecutor"):
        checked_uses("exec.py", Folder(tmp_path), PLACE)


def test_a_confined_folder_may_not_be_left(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "inner.py").symlink_to(home / "sub" / "x.py")
    (home / "outer.py").symlink_to(tmp_path / "x.py")
    (tmp_path / "alias").symlink_to(home)
    confined = Folder(home, confined=True)
    inside = ["x.py", "sub/x.py", "sub/../x.py", "inner.py", str(home / "x.py")]
    assert checked_modules(inside, confined, PLACE)[:2] == (f"{home}/x.py", f"{home}/sub/x.py")
    assert checked_modules("x.py", Folder(tmp_path / "alias", confined=True), PLACE) == (f"{tmp_path}/alias/x.py",)
    for name in ("../x.py", "sub/../../x.py", "outer.py", "/etc/x.py", str(tmp_path / "home2" / "x.py")):
        with pytest.raises(ConfigError, match="lies outside of .*home, where this file may not reach"):
            checked_modules(name, confined, PLACE)
        assert len(checked_modules(name, Folder(home), PLACE)) == 1


@pytest.mark.parametrize("given", [None, "", [], ()])
def test_no_modules(given: Any) -> None:
    assert checked_modules(given, Folder(Path("/")), PLACE) == ()


def test_modules_are_written_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    modules = [f"{tmp_path}/a.py", f"{tmp_path}/sub/pack", f"{tmp_path}/pack", "pkg.mod"]
    assert modules_relative_to(modules, tmp_path, PLACE) == ["a.py", "sub/pack", "./pack", "pkg.mod"]
    assert list(checked_modules(modules_relative_to(modules, tmp_path, PLACE), Folder(tmp_path), PLACE)) == modules
    with pytest.raises(ConfigError, match="could not reach it"):
        modules_relative_to(modules, tmp_path / "sub", PLACE)
    definition = {"jtype": "A", "metas": {"name": "n", "py_modules": modules[:1]}}
    assert relative_to(definition, tmp_path, PLACE)["metas"] == {"name": "n", "py_modules": ["a.py"]}
    assert relative_to({"jtype": "A"}, tmp_path, PLACE) == {"jtype": "A"}


def test_a_class_is_saved_by_its_address_where_others_can_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Local(Executor): ...

    monkeypatch.setitem(sys.modules, "a_module", type(sys)("a_module"))
    monkeypatch.setattr(sys.modules["a_module"], "Importable", Importable, raising=False)
    monkeypatch.setattr(Importable, "__module__", "a_module")
    assert importable_address(Importable, PLACE) == "a_module:Importable"
    Local.__module__ = "a_module"
    with pytest.raises(ConfigError, match="flow.yml:3 uses: .*Local of a_module cannot be imported"):
        importable_address(Local, PLACE)
    monkeypatch.setattr(sys.modules["__main__"], "Importable", Importable, raising=False)
    monkeypatch.setattr(Importable, "__module__", "__main__")
    with pytest.raises(ConfigError, match="Importable of __main__ cannot be imported"):
        importable_address(Importable, PLACE)


def test_paths_do_not_change_with_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    form = checked_uses("exec.yml", Folder.current(), PLACE)
    monkeypatch.chdir("/")
    assert form == os.path.join(tmp_path, "exec.yml")


@pytest.mark.parametrize("uses", ["docker://me/a:1", "jinahub+docker://Name", "jinaai+docker://a/b", "hub+docker://x"])
def test_an_image_is_told_by_its_scheme(uses: str) -> None:
    assert is_container(uses)
    assert checked_uses(f" {uses} ", Folder.current(), PLACE) == uses


@pytest.mark.parametrize("uses", ["docker://", "docker:x", "hub://x", "other+docker://x", "a.yml", None, Importable])
def test_other_things_are_no_images(uses: object) -> None:
    assert not is_container(uses)
