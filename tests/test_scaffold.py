"""What `zflow new` writes runs, passes its own tests, and never takes the place of what was there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from setuptools import find_packages

import zflow
from zflow.config.checking import check_file
from zflow.errors import ConfigError
from zflow.scaffold import new

ROOT = Path(zflow.__file__).parents[1]
OF_AN_EXECUTOR = {"executor.py", "config.yml", "requirements.txt", "README.md", "tests/test_executor.py"}


def own_tests(folder: Path) -> str:
    """What `pytest` says in the folder, as its README has it."""
    options = ["-q", "-p", "no:cacheprovider"]
    code = f"import sys, pytest; sys.path.insert(0, {str(ROOT)!r}); sys.exit(pytest.main({options}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_executor_passes_its_own_tests(tmp_path: Path) -> None:
    made = new("executor", "MyExecutor", tmp_path / "mine")
    assert {str(path) for path in made.files} == OF_AN_EXECUTOR
    assert {str(path.relative_to(made.folder)) for path in made.folder.rglob("*.*")} == OF_AN_EXECUTOR
    assert check_file(made.folder / "config.yml").faults == ()
    assert "2 passed" in own_tests(made.folder)


def test_a_flow_and_its_executor_pass_their_own_tests(tmp_path: Path) -> None:
    made = new("flow", "find-things", tmp_path / "flow")
    inside = {f"find_things_executor/{path}" for path in OF_AN_EXECUTOR - {"README.md"}}
    assert {str(path) for path in made.files} == inside | {"flow.yml", "README.md", "tests/test_flow.py"}
    assert check_file(made.folder / "flow.yml").faults == ()
    assert "3 passed" in own_tests(made.folder)


@pytest.mark.parametrize(
    ("name", "cls", "module"),
    [("MyExecutor", "MyExecutor", "my_executor"), ("text-encoder", "TextEncoder", "text_encoder"), ("x", "X", "x")],
)
def test_a_name_becomes_a_class_and_a_name_in_flows(tmp_path: Path, name: str, cls: str, module: str) -> None:
    made = new("executor", name, tmp_path)
    assert f"class {cls}(Executor):" in (made.folder / "executor.py").read_text()
    config = (made.folder / "config.yml").read_text()
    assert f"jtype: {cls}\n" in config
    assert f"  name: {module}\n" in config
    texts = [path.read_text() for path in made.folder.rglob("*.*") if path.is_file()]
    assert not any("@NAME@" in text or "@MODULE@" in text for text in texts)


@pytest.mark.parametrize("name", ["", "9lives", "a/b", "../up", "a b", "Executor", "flow", "None", "-x", "--"])
def test_what_cannot_name_a_class_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        new("executor", name, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_files_that_are_there_stay_as_they_are_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("mine")
    (tmp_path / "README.md").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"there already: .*README\.md, .*config\.yml; nothing was written") as caught:
        new("executor", "MyExecutor", tmp_path)
    assert "executor.py" not in str(caught.value).replace("MyExecutor", "")
    assert (tmp_path / "config.yml").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "config.yml"]


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        new("executor", "MyExecutor", tmp_path / "file" / "inside")


def test_a_dockerfile_only_where_it_is_asked_for(tmp_path: Path) -> None:
    assert Path("Dockerfile") not in new("executor", "One", tmp_path / "one").files
    made = new("executor", "Two", tmp_path / "two", dockerfile=True)
    told = (made.folder / "Dockerfile").read_text()
    assert '"--uses", "config.yml"' in told
    assert "docker build -t two ." in told
    assert told.index("USER root") < told.index("USER 65532:65532")


def test_another_kind_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'executor'"):
        new("executer", "MyExecutor", tmp_path)


def test_the_next_steps_are_commands_that_a_shell_understands(tmp_path: Path) -> None:
    enter, *others = [command for command, _ in new("flow", "Search", tmp_path / "a folder").next_steps]
    assert enter == f"cd '{tmp_path}/a folder'"
    assert others == [
        "python -m pytest",
        "zflow flow --uses flow.yml --reload --restart",
        "zflow client call localhost:12345 /shout --text hello",
    ]


def test_where_one_stands_already_there_is_nowhere_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [command for command, _ in new("executor", "Mine", ".").next_steps]
    assert commands[0] == "python -m pytest"
    assert commands[1] == "zflow executor --uses config.yml --port-in 12345 --reload"


def test_the_wheel_has_the_templates() -> None:
    told = (ROOT / "setup.py").read_text("utf-8")
    [pattern] = [word for word in told.split('"') if word.startswith("templates/")]
    templates = ROOT / "zflow" / "templates"
    found = {path for path in (ROOT / "zflow").glob(pattern) if path.is_file()}
    assert found == {path for path in templates.rglob("*") if path.is_file()}
    assert len(found) == 10
    assert "zflow.templates" not in find_packages(str(ROOT))
