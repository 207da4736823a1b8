"""The Executor base class as users meet it: made, called, closed, saved and loaded, without any Flow."""

import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import pytest

from zflow.errors import ConfigError
from zflow.executor import Executor, registered, requests


class Sample(Executor):
    """The example of the reference document."""

    def __init__(self, parameter_1: Any = 1, parameter_2: Any = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parameter_1 = parameter_1
        self.parameter_2 = parameter_2

    @requests(on="/default")
    def default_fn(self, **kwargs: Any) -> None: ...

    @requests
    def foo(self, **kwargs: Any) -> None: ...

    @requests
    def bar(self, **kwargs: Any) -> str:
        return "bar"


def as_names(executor: Executor) -> dict[str, str]:
    return {on: function.__name__ for on, function in executor.requests.items()}


# -- metas, runtime_args, requests ---------------------------------------------------------------------------------


def test_without_anything_given_everything_has_its_default() -> None:
    executor = Sample()
    assert executor.metas == SimpleNamespace(name="Sample", description="", py_modules="", workspace="")
    assert vars(executor.runtime_args) == {
        "name": "Sample",
        "replicas": 1,
        "shards": 1,
        "shard_id": None,
        "workspace": "",
        "py_modules": "",
    }
    assert executor.requests == {"/default": Sample.bar}


def test_what_a_flow_injects_arrives() -> None:
    executor = Sample(
        metas={"name": "Dynamic Name", "description": "does a thing"},
        requests={"/index": "foo"},
        runtime_args={"name": "executor0/rep-1", "shard_id": 0, "replica_id": 1},
    )
    assert vars(executor.metas) == {
        "name": "Dynamic Name",
        "description": "does a thing",
        "py_modules": "",
        "workspace": "",
    }
    assert executor.runtime_args.name == "executor0/rep-1"
    assert (executor.runtime_args.shards, executor.runtime_args.replica_id) == (1, 1)
    assert executor.requests == {"/default": Sample.bar, "/index": Sample.foo}


def test_a_method_that_is_mapped_leaves_its_former_endpoint() -> None:
    executor = Sample(requests={"/index": "foo", "/search": "bar"})
    assert executor.requests == {"/index": Sample.foo, "/search": Sample.bar}


def test_one_method_may_be_mapped_to_several_endpoints() -> None:
    executor = Sample(requests={"/index": "default_fn", "/search": "default_fn"})
    assert as_names(executor) == {"/default": "bar", "/index": "default_fn", "/search": "default_fn"}


def test_mapping_one_instance_leaves_the_others_alone() -> None:
    Sample(requests={"/index": "bar"})
    assert as_names(Sample()) == {"/default": "bar"}


def test_endpoint_is_the_exact_one_else_the_default_one_else_none() -> None:
    executor = Sample(requests={"/index": "foo"})
    found = {on: executor.endpoint(on) for on in ("/index", "/default", "/", "", "/else")}
    assert {on: endpoint.function.__name__ for on, endpoint in found.items() if endpoint} == {
        "/index": "foo",
        "/default": "bar",
        "/": "bar",
        "": "bar",
        "/else": "bar",
    }
    assert Executor().endpoint("/index") is None
    assert Sample(requests={"/x": "bar"}).endpoint("/else") is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"metas": {"nam": "x"}}, r"metas.nam: unknown key \"nam\": did you mean 'name'\?"),
        ({"metas": {"name": 3}}, r"metas.name: expected text, got 3"),
        ({"metas": ["name"]}, "expected a map"),
        ({"requests": {"/index": "fo"}}, r"has no method 'fo': did you mean 'foo'\?"),
        ({"requests": {"index": "foo"}}, r"'index' is no endpoint: write '/index'"),
        ({"requests": {"/index": foo}} if (foo := print) else {}, "expected the name of a method"),
    ],
)
def test_wrong_metas_and_requests_are_refused_by_name(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Sample(**arguments)


def test_an_argument_that_nobody_takes_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(TypeError, match=r"Sample takes no argument 'paramter_1': did you mean 'parameter_1'\?"):
        Sample(paramter_1=3)


# -- the contract of __init__ --------------------------------------------------------------------------------------


def test_an_init_without_kwargs_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(TypeError, match=r"Closed.__init__ must take \*\*kwargs and pass them on.*super\(\).__init__"):

        class Closed(Executor):
            def __init__(self, foo: str) -> None:
                super().__init__()


def test_an_init_with_all_three_injected_arguments_needs_no_kwargs() -> None:
    class Explicit(Executor):
        def __init__(self, metas: Any, requests: Any, runtime_args: Any) -> None:
            super().__init__(metas, requests, runtime_args)

    assert Explicit({"name": "n"}, None, None).metas.name == "n"


def test_a_dataclass_is_an_executor_like_any_other() -> None:
    @dataclass
    class Data(Executor):
        size: int = 3

        @requests
        def foo(self, **kwargs: Any) -> int:
            return self.size

    executor = Data(size=4)
    assert (executor.foo(), executor.metas.name, as_names(executor)) == (4, "Data", {"/default": "foo"})


def test_a_frozen_dataclass_works_too() -> None:
    @dataclass(frozen=True)
    class Frozen(Executor):
        size: int = 3

    assert Frozen(5).metas.name == "Frozen"


class Counter:
    def __init__(self, start: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count = start


class Store:
    def __init__(self, path: str = "nowhere") -> None:
        self.path = path


def test_classes_before_and_behind_executor_are_initialised() -> None:
    class Before(Counter, Executor): ...

    class Behind(Executor, Store): ...

    assert Before(start=3, metas={"name": "n"}).count == 3
    assert Behind(path="here", metas={"name": "n"}).path == "here"
    assert Behind().path == "nowhere"


def test_a_class_behind_executor_may_be_initialised_by_hand() -> None:
    class Needy:
        def __init__(self, must: int) -> None:
            self.must = must

    class ByHand(Executor, Needy):
        def __init__(self, **kwargs: Any) -> None:
            Executor.__init__(self, **kwargs)
            Needy.__init__(self, must=3)

    assert ByHand(metas={"name": "n"}).must == 3


def test_a_generic_executor_still_refuses_what_nobody_takes() -> None:
    Item = TypeVar("Item")

    class Typed(Executor, Generic[Item]): ...

    with pytest.raises(TypeError, match="Typed takes no argument 'x'"):
        Typed(x=3)


# -- workspace -----------------------------------------------------------------------------------------------------


def test_the_workspace_is_a_folder_per_name_and_shard_and_exists(tmp_path: Path) -> None:
    executors = [
        Sample(metas={"name": "mine"}, runtime_args={"workspace": str(tmp_path), "shard_id": shard}) for shard in (0, 1)
    ]
    assert [Path(executor.workspace) for executor in executors] == [tmp_path / "mine" / "0", tmp_path / "mine" / "1"]
    assert all(Path(executor.workspace).is_dir() for executor in executors)


def test_the_workspace_of_bare_use_has_no_shard(tmp_path: Path) -> None:
    assert Path(Sample(workspace=str(tmp_path)).workspace) == tmp_path / "Sample"
    assert Path(Sample(metas={"workspace": str(tmp_path)}).workspace) == tmp_path / "Sample"


def test_the_flows_workspace_wins_over_metas_and_those_over_the_argument(tmp_path: Path) -> None:
    flow, metas, argument = (str(tmp_path / name) for name in ("flow", "metas", "argument"))
    both = {"metas": {"workspace": metas}, "workspace": argument}
    assert Sample(**both).workspace.startswith(metas)
    assert Sample(**both, runtime_args={"workspace": flow}).workspace.startswith(flow)


def test_without_a_workspace_the_environment_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZFLOW_WORKSPACE", str(tmp_path / "here"))
    assert Path(Sample().workspace) == tmp_path / "here" / "Sample"
    monkeypatch.delenv("ZFLOW_WORKSPACE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(Sample().workspace) == tmp_path / ".cache" / "zflow" / "Sample"


@pytest.mark.parametrize("name", ["Dynamic Name", "../../etc", "a;b", "x" * 300, "/", "..", "ü", "\ud800", "a\0b"])
def test_any_name_makes_a_safe_folder_of_its_own(name: str, tmp_path: Path) -> None:
    folder = Path(Sample(metas={"name": name}, workspace=str(tmp_path)).workspace)
    assert folder.parent == tmp_path
    assert folder.name.isascii() and len(folder.name) <= 64


def test_names_that_look_alike_once_made_safe_do_not_share_a_folder(tmp_path: Path) -> None:
    folders = {
        Sample(metas={"name": name}, workspace=str(tmp_path)).workspace
        for name in ("Dynamic Name", "Dynamic_Name", "Dynamic;Name")
    }
    assert len(folders) == 3


def test_a_workspace_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for workspace, told in [
        ("/", "root of the file system"),
        (str(file), "cannot be used"),
        ("a\0b", "cannot be used"),
    ]:
        with pytest.raises(ConfigError, match=f"workspace .*{told}"):
            _ = Sample(workspace=workspace).workspace


# -- life ----------------------------------------------------------------------------------------------------------


class Closing(Executor):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.closed = 0

    @requests
    def foo(self, docs: Any, **kwargs: Any) -> list[str]:
        return [f"{doc}!" for doc in docs]

    def close(self) -> None:
        self.closed += 1


def test_methods_are_called_directly_and_close_at_the_end_of_the_block() -> None:
    with Closing() as executor:
        assert executor.foo(["hello world"]) == ["hello world!"]
        assert executor.closed == 0
    assert executor.closed == 1


def test_close_runs_once_and_also_after_an_exception() -> None:
    with pytest.raises(KeyError), Closing() as executor:
        raise KeyError
    executor.__exit__(None, None, None)
    assert executor.closed == 1


def test_an_async_close_is_refused() -> None:
    with pytest.raises(TypeError, match="close must not be async"):

        class Late(Executor):
            async def close(self) -> None: ...  # type: ignore[override]


# -- the registry --------------------------------------------------------------------------------------------------


def test_a_class_is_found_by_its_bare_name() -> None:
    assert registered("Sample") is not None
    assert registered("Nobody") is None
    assert registered("Executor") is registered("BaseExecutor") is Executor


def test_of_two_classes_of_one_name_the_later_is_taken_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def one() -> type[Executor]:
        class Twice(Executor): ...

        return Twice

    def other() -> type[Executor]:
        class Twice(Executor): ...

        return Twice

    one(), one()
    with caplog.at_level(logging.WARNING, "zflow"):
        assert registered("Twice") is not None
        assert not caplog.messages  # the same class made twice is no second class
        later = other()
        assert registered("Twice") is later
    assert "2 Executor classes are named Twice" in caplog.text


# -- YAML ----------------------------------------------------------------------------------------------------------


def test_an_executor_survives_saving_and_loading(tmp_path: Path) -> None:
    executor = Sample(
        "one",
        parameter_2={"deep": [1, 2.5, None, "no", "22:22", "1e3"]},
        metas={"name": "Dynamic Name", "workspace": "workspace"},
        requests={"/index": "foo", "/search": "bar"},
        runtime_args={"name": "executor0/rep-0", "shard_id": 3},
    )
    file = tmp_path / "my.yml"
    executor.save_config(file)
    loaded = Sample.load_config(file)
    assert (loaded.parameter_1, loaded.parameter_2) == (executor.parameter_1, executor.parameter_2)
    assert (loaded.metas, loaded.requests) == (executor.metas, executor.requests)
    assert loaded.runtime_args.shard_id is None
    loaded.save_config(tmp_path / "again.yml")
    assert (tmp_path / "again.yml").read_text() == file.read_text()


def test_only_what_was_given_is_saved(tmp_path: Path) -> None:
    Sample(parameter_2=5).save_config(tmp_path / "my.yml")
    assert (tmp_path / "my.yml").read_text() == "jtype: Sample\nwith:\n  parameter_2: 5\n"


def test_an_argument_that_yaml_cannot_hold_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"my.yml with.parameter_1: a object cannot be written to YAML"):
        Sample(object()).save_config(tmp_path / "my.yml")
    assert not list(tmp_path.iterdir())


def test_loading_takes_overrides_and_the_context() -> None:
    text = "jtype: Sample\nwith: {parameter_1: '${{ CONTEXT.x }}', parameter_2: 3}\nmetas: {name: a, description: d}"
    loaded = Executor.load_config(
        text,
        context={"x": [7]},
        uses_with={"parameter_2": 4},
        uses_metas={"name": "b"},
        uses_requests={"/x": "foo"},
        runtime_args={"shard_id": 2},
    )
    assert isinstance(loaded, Sample)
    assert (loaded.parameter_1, loaded.parameter_2) == ([7], 4)
    assert (loaded.metas.name, loaded.metas.description, loaded.runtime_args.shard_id) == ("b", "d", 2)
    assert as_names(loaded) == {"/default": "bar", "/x": "foo"}


def test_loading_another_class_than_was_asked_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="is a Sample, no Closing"):
        Closing.load_config({"jtype": "Sample"})


# -- cost ----------------------------------------------------------------------------------------------------------


def test_the_module_is_imported_without_the_heavy_packages() -> None:
    code = "import sys, zflow.executor; print([m for m in ('yaml', 'numpy', 'click') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_outside_of_a_flow_nobody_cancels_anything():
    class Plain(Executor):
        pass

    assert Plain().cancelled is False
