"""From what `uses` names to a running Executor."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
import yaml  # noqa: F401  # before any test: one that imported it itself would have it forgotten by half

from zflow import importing
from zflow.errors import ConfigError
from zflow.executor import Executor, _by_name, requests
from zflow.loading import describe

exec_yaml = """ 
jtype: MyExecutor
with:
  parameter_1: static_parameter_1
  parameter_2: static_parameter_2
metas:
  name: MyExecutor
  description: "MyExecutor does a thing to the stuff in your Documents"
  workspace: workspace
requests:
  /index: default_fn
  /search: default_fn
"""  # noqa: W291  # the blank in front of the first line is the reference document's

MODULE = """
from zflow.executor import Executor, requests

class FileExecutor(Executor):
    def __init__(self, foo='nothing', **kwargs):
        super().__init__(**kwargs)
        self.foo = foo

    @requests
    def answer(self, docs, **kwargs): pass
"""


class MyExecutor(Executor):
    def __init__(self, parameter_1: Any, parameter_2: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parameter_1 = parameter_1
        self.parameter_2 = parameter_2

    @requests(on="/default")
    def default_fn(self, **kwargs: Any) -> None:
        pass

    @requests
    def foo(self, **kwargs: Any) -> None:
        pass

    @requests
    def bar(self, **kwargs: Any) -> None:
        pass


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``my-exec.yml`` and the ``exec.py`` that it names."""
    (tmp_path / "exec.py").write_text(MODULE)
    (tmp_path / "my-exec.yml").write_text("!FileExecutor\nwith: {foo: static}\nmetas:\n  py_modules:\n    - exec.py\n")
    return tmp_path


# -- the example of the reference document -------------------------------------------------------------------------


def test_the_static_configuration() -> None:
    executor = describe(exec_yaml).build({"name": "executor0/rep-0"})
    assert isinstance(executor, MyExecutor)
    assert (executor.parameter_1, executor.parameter_2) == ("static_parameter_1", "static_parameter_2")
    assert executor.metas == SimpleNamespace(
        description="MyExecutor does a thing to the stuff in your Documents",
        name="MyExecutor",
        py_modules="",
        workspace="workspace",
    )
    assert executor.requests == {
        "/default": MyExecutor.bar,
        "/index": MyExecutor.default_fn,
        "/search": MyExecutor.default_fn,
    }


def test_the_overridden_configuration() -> None:
    description = describe(
        exec_yaml,
        uses_with={"parameter_1": "overriden_parameter_1", "parameter_2": "overriden_parameter_2"},
        uses_metas={"name": "Dynamic Name", "workspace": "overriden_worskpace"},
        uses_requests={"/index": "foo", "/search": "bar"},
    )
    executor = description.build({"name": "executor0/rep-0"})
    assert isinstance(executor, MyExecutor)
    assert (executor.parameter_1, executor.parameter_2) == ("overriden_parameter_1", "overriden_parameter_2")
    assert executor.metas == SimpleNamespace(
        description="MyExecutor does a thing to the stuff in your Documents",
        name="Dynamic Name",
        py_modules="",
        workspace="overriden_worskpace",
    )
    assert executor.requests == {"/index": MyExecutor.foo, "/search": MyExecutor.bar}
    assert (description.name, executor.runtime_args.name) == ("Dynamic Name", "executor0/rep-0")


def test_overrides_win_key_by_key() -> None:
    executor = describe(exec_yaml, uses_with={"parameter_2": 5}, uses_requests={"/search": "foo"}).build({})
    assert isinstance(executor, MyExecutor)
    assert (executor.parameter_1, executor.parameter_2) == ("static_parameter_1", 5)
    assert executor.requests == {"/default": MyExecutor.bar, "/index": MyExecutor.default_fn, "/search": MyExecutor.foo}


# -- what `uses` may be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uses", [None, "Executor", "BaseExecutor", Executor, {"jtype": "BaseExecutor"}])
def test_the_executor_that_changes_nothing(uses: Any) -> None:
    description = describe(uses)
    assert type(description.build({})) is Executor
    assert description.name in ("Executor", "BaseExecutor")


@pytest.mark.parametrize(
    "uses",
    [
        MyExecutor,
        "MyExecutor",
        "jtype: MyExecutor",
        "!MyExecutor",
        "\n \njtype: MyExecutor\n",
        '{"jtype": "MyExecutor"}',
        {"jtype": "MyExecutor"},
    ],
)
def test_a_class_known_here_is_described_by_itself(uses: Any) -> None:
    description = describe(uses, uses_with={"parameter_1": 1, "parameter_2": 2})
    assert description.target is MyExecutor
    assert type(description.build({})) is MyExecutor


@pytest.mark.parametrize("uses", ["address_part:FileExecutor", "address_part.FileExecutor"])
def test_a_class_at_an_address_is_imported_only_when_it_is_built(uses: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "address_part.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    description = describe(uses)
    assert description.target == "address_part:FileExecutor" and "address_part" not in sys.modules
    assert type(description.build({})).__name__ == description.class_name == "FileExecutor"


def test_a_yaml_file_names_its_modules_relative_to_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    description = describe(f"{folder.name}/my-exec.yml")
    assert "exec" not in sys.modules  # nothing of the user's is imported by describing
    monkeypatch.chdir("/")
    executor = description.build({"name": "executor0/rep-0"})
    assert (type(executor).__name__, vars(executor)["foo"]) == ("FileExecutor", "static")
    assert executor.metas.py_modules == [str(folder / "exec.py")]
    assert executor.runtime_args.py_modules == [str(folder / "exec.py")]
    assert description.source == folder / "my-exec.yml"


def test_a_path_object_is_a_file_whatever_its_name(folder: Path) -> None:
    (folder / "my-exec.yml").rename(folder / "my-exec.conf")
    assert describe(folder / "my-exec.conf").class_name == "FileExecutor"
    assert describe(Path("my-exec.conf"), folder=folder).source == folder / "my-exec.conf"


def test_py_modules_may_be_given_in_python_from_anywhere(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "bare.yml").write_text("jtype: FileExecutor")
    with pytest.raises(ConfigError, match="no Executor class 'FileExecutor' is known"):
        describe(other / "bare.yml")
    executor = describe(other / "bare.yml", py_modules=str(folder / "exec.py")).build({})
    assert type(executor).__name__ == "FileExecutor"


def test_modules_beat_a_class_of_the_same_name_that_is_known_here(folder: Path) -> None:
    class FileExecutor(Executor): ...

    description = describe(folder / "my-exec.yml")
    assert description.known is FileExecutor
    assert type(description.build({})) is not FileExecutor


def test_a_class_known_here_serves_where_the_modules_do_not_have_it(tmp_path: Path) -> None:
    class OnlyHere(Executor): ...

    (tmp_path / "helper_part.py").write_text("value = 3")
    (tmp_path / "exec.yml").write_text("jtype: OnlyHere\npy_modules: helper_part.py")
    assert type(describe(tmp_path / "exec.yml").build({})) is OnlyHere


def test_variables_and_context_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIZE", "5")
    text = "jtype: MyExecutor\nwith: {parameter_1: '${{ ENV.SIZE }}', parameter_2: 'a-${{ x }}'}"
    assert describe(text, context={"x": 1}).arguments == {"parameter_1": 5, "parameter_2": "a-1"}


# -- travelling ----------------------------------------------------------------------------------------------------


def test_a_description_travels_to_a_process_that_knows_nothing(folder: Path, tmp_path: Path) -> None:
    script = """
import sys, cloudpickle
from zflow.executor import Executor, _by_name, requests
from zflow.loading import describe

class Scripted(Executor):
    @requests
    def foo(self, **kwargs): return 'from the script'

descriptions = [describe('jtype: Scripted'), describe(Scripted), describe('Scripted', py_modules=__file__),
                describe('my-exec.yml')]
sys.stdout.buffer.write(cloudpickle.dumps(descriptions))
"""
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(Path(importing.__file__).parents[1])}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    executors = [description.build({}) for description in cloudpickle.loads(done.stdout)]
    assert [type(executor).__name__ for executor in executors] == ["Scripted"] * 3 + ["FileExecutor"]
    assert {executor.foo() for executor in executors[:3]} == {"from the script"}
    assert "script" not in sys.modules  # the script is not run again to find its class


# -- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uses", "told"),
    [
        ("docker://image", "is an image, which no class can be taken from; let it be started by a Flow"),
        ("jinahub+docker://CLIPTextEncoder", "is an image, which no class can be taken from"),
        ("hbu://x", "nothing is called hbu://; did you mean 'hub'?"),
        ("exec.py", "is a Python file; name the class in it as well: exec.py:MyExecutor"),
        ("no_such.yml", "no_such.yml does not exist"),
        ("My-Executor", "is no class name"),
        ("", "is no class name"),
        ("MyExecutr", r"no Executor class 'MyExecutr' is known: did you mean 'MyExecutor'\?"),
        (dict, "the class dict is no Executor"),
        (3, "expected an Executor class"),
        ({"with": {}}, "names no class; add 'jtype: MyExecutor'"),
        ({"jtype": "os.system"}, "bare name of an Executor class"),
        ({"jtype": "dict"}, "no Executor class 'dict'"),
        ({"jtype": "MyExecutor", "wiht": {}}, r"unknown key \"wiht\": did you mean 'with'\?"),
        ({"jtype": "MyExecutor", "with": {"metas": {}}}, "metas is no argument of your __init__"),
        ({"jtype": "MyExecutor", "with": {"a b": 1}}, "expected the name of an argument"),
        ({"jtype": "MyExecutor", "with": 3}, "uses with: expected a map|with: expected a map of arguments"),
        ({"jtype": "MyExecutor", "workspace": 3}, "expected text, got 3"),
        ({"jtype": "MyExecutor", "py_modules": 3}, "expected a file"),
        ({"jtype": "MyExecutor", "py_modules": ["a\0b.py"]}, "NUL"),
        ("jtype: MyExecutor\nmetas: {nam: x}", r"uses:2 metas.nam: unknown key"),
        ("jtype: [", "not valid YAML"),
    ],
)
def test_a_wrong_uses_is_refused_by_name(uses: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        describe(uses)


def test_missing_and_unknown_arguments_are_told_before_init_runs() -> None:
    with pytest.raises(ConfigError, match="MyExecutor cannot be made: missing a required argument: 'parameter_2'"):
        describe(MyExecutor, uses_with={"parameter_1": 1}).build({})
    with pytest.raises(TypeError, match=r"takes no argument 'paramter': did you mean 'parameter_\d'\?"):
        describe(exec_yaml, uses_with={"paramter": 1}).build({})


def test_an_init_that_drops_its_kwargs_is_a_type_error() -> None:
    class Dropping(Executor):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__()

    class Forgetful(Executor):
        def __init__(self, **kwargs: Any) -> None:
            pass

    for cls in (Dropping, Forgetful):
        with pytest.raises(TypeError, match=rf"{cls.__name__}.__init__ must pass its \*\*kwargs on"):
            describe(cls).build({})


def test_a_dataclass_is_built_with_metas_and_requests() -> None:
    @dataclass
    class Data(Executor):
        size: int = 3

        def __post_init__(self) -> None:
            super().__init__()
            self.seen = self.metas.name

        def foo(self, **kwargs: Any) -> None: ...

    executor = describe(Data, uses_with={"size": 4}, uses_metas={"name": "n"}, uses_requests={"/a": "foo"}).build({})
    assert isinstance(executor, Data)
    assert (executor.size, executor.seen, list(executor.requests)) == (4, "n", ["/a"])
    with pytest.raises(ConfigError, match=r"Data takes no argument 'sise': did you mean 'size'\?"):
        describe(Data, uses_with={"sise": 4}).build({})


@pytest.mark.parametrize(
    "module", ["../outside.py", "/etc/passwd.py", "sub/../../outside.py", "link.py", "~/x.py", "fifo.py", "none.py"]
)
def test_a_yaml_file_cannot_name_files_outside_of_its_folder_nor_devices(module: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside.py").write_text("raise AssertionError('this must not run')")
    (home / "link.py").symlink_to(tmp_path / "outside.py")
    os.mkfifo(home / "fifo.py")
    (home / "exec.yml").write_text(f"jtype: X\npy_modules: [{module}]")
    with pytest.raises(ConfigError, match="lies outside of|does not exist|is no regular file"):
        describe(home / "exec.yml").build({})


def test_a_missing_class_names_the_file_and_the_nearest(folder: Path) -> None:
    (folder / "my-exec.yml").write_text("jtype: FileExecuter\npy_modules: exec.py")
    told = r"my-exec.yml \(FileExecuter\): no Executor class 'FileExecuter' in .*exec.py: did you mean 'FileExecutor'\?"
    with pytest.raises(ConfigError, match=told):
        describe(folder / "my-exec.yml").build({})


# -- saving --------------------------------------------------------------------------------------------------------


def test_an_executor_from_a_file_is_saved_with_its_modules_relative_to_the_new_file(folder: Path) -> None:
    executor = describe(folder / "my-exec.yml", uses_with={"foo": "new"}).build({})
    executor.save_config(folder / "saved.yml")
    assert "- exec.py" in (folder / "saved.yml").read_text()
    assert vars(Executor.load_config(folder / "saved.yml"))["foo"] == "new"
    executor.save_config(folder.parent / "above.yml")
    assert f"- {folder.name}/exec.py" in (folder.parent / "above.yml").read_text()


def test_modules_that_the_new_file_could_not_name_are_refused(folder: Path, tmp_path_factory: Any) -> None:
    executor = describe(folder / "my-exec.yml").build({})
    target = tmp_path_factory.mktemp("elsewhere") / "saved.yml"
    with pytest.raises(ConfigError, match="exec.py lies outside of .*elsewhere.*could not reach it"):
        executor.save_config(target)
    assert not target.exists()


def test_unnamed_arguments_cannot_be_saved(tmp_path: Path) -> None:
    class Starred(Executor):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    with pytest.raises(ConfigError, match=r"unnamed arguments \(\*args\)"):
        Starred(1, 2).save_config(tmp_path / "x.yml")


# -- for processes that read the source whenever they start ------------------------------------------------------------


def test_what_another_process_can_import_by_name_is_left_as_it_is(folder: Path) -> None:
    for uses in (MyExecutor, None, str(folder / "my-exec.yml")):
        description = describe(uses)
        assert description.to_be_read_again() is description


def test_a_class_that_would_travel_as_it_is_now_is_found_in_its_file_instead(folder: Path) -> None:
    (folder / "json.py").write_text("from zflow import Executor\nclass Mine(Executor): ...")
    cls = describe("Mine", py_modules=[str(folder / "json.py")]).find_class()
    again = describe(cls).to_be_read_again()
    assert (again.target, again.py_modules) == ("Mine", (str(folder / "json.py"),))
    assert again.find_class() is cls


def test_a_class_without_a_file_that_can_be_read_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Inner(Executor): ...

    made = type("Made", (Executor,), {"__module__": "nowhere"})
    of_main = type("OfMain", (Executor,), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "OfMain", of_main, raising=False)
    for cls in (Inner, made, of_main):
        with pytest.raises(ConfigError, match=f"reload: .*{cls.__name__} of .* cannot be read again.*file of its own"):
            describe(cls).to_be_read_again()
