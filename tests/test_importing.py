"""Modules from files and names: packages, siblings, namesakes, and what goes wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zflow import importing
from zflow.errors import ConfigError
from zflow.executor import _by_name
from zflow.importing import class_at, find_class, import_modules, is_dotted

EXECUTOR = "from zflow.executor import Executor\nclass {name}(Executor):\n    value = {value}\n"


@pytest.fixture(autouse=True)
def untouched_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test imports is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(importing, "_brought", {})
    monkeypatch.setattr("zflow.executor._by_name", {name: dict(classes) for name, classes in _by_name.items()})
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def write(folder: Path, **files: str) -> Path:
    """Modules by name, with their text."""
    for name, text in files.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "dotted"),
    [("exec.py", False), ("a/b", False), ("./a", False), ("exec", True), ("a.b.c", True), ("a..b", False), ("", False)],
)
def test_files_and_module_names_are_told_apart(text: str, dotted: bool) -> None:
    assert is_dotted(text) is dotted


def test_a_file_is_imported_relative_to_its_folder_under_the_name_python_gives(tmp_path: Path) -> None:
    write(tmp_path, lone_executor="value = 3")
    (module,) = import_modules(["lone_executor.py"], tmp_path)
    assert (module.__name__, module.value) == ("lone_executor", 3)
    assert sys.modules["lone_executor"] is module


def test_siblings_are_found_whatever_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one", main_part="from side_part import value", side_part="value = 5")
    monkeypatch.chdir(tmp_path)
    (module,) = import_modules(["main_part.py"], tmp_path / "one")
    assert module.value == 5


def test_siblings_are_found_by_later_imports_inside_of_functions(tmp_path: Path) -> None:
    write(tmp_path, lazy_part="def late():\n    import late_part\n    return late_part.value", late_part="value = 6")
    (module,) = import_modules(["lazy_part.py"], tmp_path)
    assert sys.path[0] != str(tmp_path)
    assert module.late() == 6


def test_several_files_and_dotted_names_in_order(tmp_path: Path) -> None:
    write(tmp_path, several_a="order = ['a']", several_b="from several_a import order\norder.append('b')")
    write(tmp_path / "deep", inner="value = 1", __init__="")
    modules = import_modules(["several_a.py", "several_b", "deep.inner", "json"], tmp_path)
    assert modules[0].order == ["a", "b"]
    assert [module.__name__ for module in modules[1:]] == ["several_b", "deep.inner", "json"]


def test_a_file_in_a_package_may_import_relatively(tmp_path: Path) -> None:
    pack = write(tmp_path / "pack", __init__="base = 1", helper_part="value = 2")
    write(pack, exec_part="from . import base\nfrom .helper_part import value")
    write(pack / "sub", __init__="", leaf="from ..helper_part import value")
    module, leaf, package = import_modules(["pack/exec_part.py", "pack/sub/leaf.py", "./pack"], tmp_path)
    assert (module.__name__, module.base, module.value) == ("pack.exec_part", 1, 2)
    assert (leaf.__name__, leaf.value) == ("pack.sub.leaf", 2)
    assert package.__name__ == "pack"


def test_the_folder_itself_may_be_a_package(tmp_path: Path) -> None:
    write(tmp_path / "yaml_here", __init__="", exec_here="from .near import value\nimport near", near="value = 4")
    (module,) = import_modules(["exec_here.py"], tmp_path / "yaml_here")
    assert (module.__name__, module.value) == ("yaml_here.exec_here", 4)


def test_a_module_is_run_once(tmp_path: Path) -> None:
    write(tmp_path, once="runs = []")
    (first,) = import_modules(["once.py"], tmp_path)
    (again,) = import_modules([str(tmp_path / "once.py")], tmp_path)
    assert again is first


@pytest.mark.parametrize("name", ["random", "array", "zflow"])
def test_a_file_named_like_another_module_gets_a_name_of_its_own(name: str, tmp_path: Path) -> None:
    __import__(name)
    present = sys.modules[name]
    write(tmp_path, **{name: "value = 'mine'"})
    (module,) = import_modules([f"{name}.py"], tmp_path)
    assert module.value == "mine"
    assert module.__name__.startswith(f"{name}_") and sys.modules[module.__name__] is module
    assert sys.modules[name] is present
    assert import_modules([f"{name}.py"], tmp_path) == [module]


def test_a_package_that_python_could_not_name_still_imports_relatively(tmp_path: Path) -> None:
    write(tmp_path / "v1.0-beta", __init__="", exec_part="from .near import value", near="value = 9")
    (module,) = import_modules(["exec_part.py"], tmp_path / "v1.0-beta")
    assert module.value == 9


def test_two_folders_with_files_of_the_same_names_do_not_mix(tmp_path: Path) -> None:
    values = []
    for number in (1, 2):
        folder = write(
            tmp_path / str(number), executor="from helper_part import value", helper_part=f"value = {number}"
        )
        values += [module.value for module in import_modules(["executor.py"], folder)]
    assert values == [1, 2]


def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, my_executor="")
    with pytest.raises(
        ConfigError, match=rf"{tmp_path}/my_exectuor.py does not exist: did you mean 'my_executor.py'\?"
    ):
        import_modules(["my_exectuor.py"], tmp_path)


def test_what_is_no_python_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("")
    with pytest.raises(ConfigError, match="is a folder without __init__.py"):
        import_modules(["./folder"], tmp_path)
    with pytest.raises(ConfigError, match="is no regular file that ends in .py"):
        import_modules(["./text"], tmp_path)
    with pytest.raises(ConfigError, match="is no regular file"):
        import_modules(["/dev/null"], tmp_path)


def test_a_missing_module_is_told_from_one_that_misses_something(tmp_path: Path) -> None:
    write(tmp_path, needs_more="import no_such_library")
    with pytest.raises(ConfigError, match="there is no module 'no_such_module'"):
        import_modules(["no_such_module"], tmp_path)
    with pytest.raises(ConfigError, match="needs_more could not be imported: .*No module named 'no_such_library'"):
        import_modules(["needs_more"], tmp_path)


@pytest.mark.parametrize("name", ["broken_part.py", "broken_part"])
def test_a_module_that_raises_keeps_its_traceback(name: str, tmp_path: Path) -> None:
    write(tmp_path, broken_part="def fail():\n    raise RuntimeError('no luck')\nfail()")
    with pytest.raises(ConfigError, match="broken_part.* could not be imported: RuntimeError: no luck") as caught:
        import_modules([name], tmp_path)
    cause = caught.value.__cause__
    assert isinstance(cause, RuntimeError)
    traceback = cause.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    assert traceback is not None and traceback.tb_frame.f_code.co_name == "fail"
    assert "broken_part" not in sys.modules


def test_a_broken_file_under_a_name_of_its_own_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, random="1 / 0")
    before = set(sys.modules)
    with pytest.raises(ConfigError, match="division by zero"):
        import_modules(["random.py"], tmp_path)
    assert set(sys.modules) == before


def test_sys_path_is_as_before_but_for_the_folder_at_its_end(tmp_path: Path) -> None:
    write(tmp_path, path_part="import sys\nsys.path.insert(0, 'added by the module')")
    before = list(sys.path)
    import_modules(["path_part.py"], tmp_path)
    assert sys.path == ["added by the module", *before, str(tmp_path)]


def test_a_class_is_found_in_its_modules_before_anywhere_else(tmp_path: Path) -> None:
    write(tmp_path, first_home=EXECUTOR.format(name="Homeless", value=1))
    write(tmp_path, second_home=EXECUTOR.format(name="Homeless", value=2))
    first, _ = import_modules(["first_home.py", "second_home.py"], tmp_path)
    assert find_class("Homeless", [first]).value == 1  # type: ignore[attr-defined]


def test_a_class_made_by_a_submodule_is_found_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, front_door="import back_room", back_room=EXECUTOR.format(name="Hidden", value=7))
    assert find_class("Hidden", import_modules(["front_door.py"], tmp_path)).__name__ == "Hidden"


def test_a_missing_class_is_named_with_the_nearest_of_its_modules(tmp_path: Path) -> None:
    write(tmp_path, class_part=EXECUTOR.format(name="ImageEncoder", value=1))
    modules = import_modules(["class_part.py"], tmp_path)
    told = rf"no Executor class 'ImageEncodre' in {tmp_path}/class_part.py: did you mean 'ImageEncoder'\?"
    with pytest.raises(ConfigError, match=told):
        find_class("ImageEncodre", modules)


def test_a_class_that_is_no_executor_is_refused(tmp_path: Path) -> None:
    write(tmp_path, plain_part="class Plain: pass\nnumber = 3")
    modules = import_modules(["plain_part.py"], tmp_path)
    for name in ("Plain", "number"):
        with pytest.raises(ConfigError, match=f"{name} in .*plain_part.py is no Executor class"):
            find_class(name, modules)


def test_a_class_at_an_address(tmp_path: Path) -> None:
    write(tmp_path, address_part=EXECUTOR.format(name="Addressed", value=1))
    assert class_at("address_part:Addressed", tmp_path).__name__ == "Addressed"
    with pytest.raises(ConfigError, match="system in .*os.py is no Executor class"):
        class_at("os:system", tmp_path)
    with pytest.raises(ConfigError, match="no Executor class 'Addressed' in .*json"):
        class_at("json:Addressed", tmp_path)  # a class of that name elsewhere is not meant


def test_a_module_that_would_be_found_again_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [module] = import_modules([str(write(tmp_path, plain="") / "plain.py")], tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importing.is_importable(module) and importing.is_importable(sys) and importing.is_importable(importing)
    [other] = import_modules([str(write(tmp_path, json="") / "json.py")], tmp_path)
    assert not importing.is_importable(other)
