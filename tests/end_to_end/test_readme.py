"""Every example of README.md runs and prints what stands below it; every command it shows is one that exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import read_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, re.DOTALL)
STANDALONE = "external=True"


@pytest.mark.parametrize(
    ("source", "printed"),
    [pytest.param(*example, id=f"example {number}") for number, example in enumerate(EXAMPLES)],
)
def test_examples_print_what_stands_below_them(source: str, printed: str, run_script) -> None:
    output = run_script(source).stdout
    assert output == printed
    assert printed or STANDALONE in source, "an example that prints nothing shows nothing"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the commands are run: my-exec.yml is there."""
    (tmp_path / "my-exec.yml").write_text("jtype: Mine\nmetas:\n  py_modules: [mine.py]\n")
    (tmp_path / "mine.py").write_text(
        "from zflow import Executor, requests\n"
        "class Mine(Executor):\n"
        "    def __init__(self, model='small', **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "    @requests\n"
        "    def add(self, docs, **kwargs):\n"
        "        docs.texts = [text + ' back' for text in docs.texts]\n"
    )
    return tmp_path


def commands_of(section: str, **substitutes: str) -> list[list[str]]:
    """The words of each ``zflow ...`` line of the first block of commands below the heading `section`."""
    [_, below] = README.split(f" {section}\n")
    block = below.split("```bash\n")[1].split("```")[0]
    for word, substitute in substitutes.items():
        block = block.replace(word.replace("_", " "), substitute)
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines()]


@pytest.fixture
def run(folder: Path, zflow_command) -> Callable[[list[str]], str]:
    """What the command prints, that has to succeed."""

    def printed(words: list[str]) -> str:
        done = subprocess.run([*zflow_command, *words], cwd=folder, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return printed


def test_the_commands_for_a_standalone_executor(folder: Path, start, zflow_command, run, port) -> None:
    serve, *others = commands_of("Executors that stand alone", **{"12345": str(port)})
    read_until(start(*zflow_command, *serve, cwd=folder), f"127.0.0.1:{port}")
    for command, expected in zip(others, ("serving", "hello back"), strict=True):
        assert expected in run(command)


def test_the_commands_for_those_who_write(folder: Path, start, zflow_command, run, port) -> None:
    (folder / "flow.yml").write_text("jtype: Flow\nexecutors:\n- {uses: my-exec.yml, name: mine}\n")
    check, plot, serve, *others = commands_of("While you write it", **{"12345": str(port)})
    assert "mine" in run(check)
    run(plot)
    assert (folder / "flow.svg").read_text().startswith("<svg")
    read_until(start(*zflow_command, *serve, cwd=folder), f"127.0.0.1:{port}")
    for command, expected in zip(others, ("hello back", "mine/rep-0", "mine/rep-0"), strict=True):
        assert expected in run(command)


def test_the_commands_for_scaling(folder: Path, start, zflow_command, run, port) -> None:
    section = "Replicas, shards, and more of them while it serves"
    serve, *others = commands_of(section, **{"12345": str(port)})
    read_until(start(*zflow_command, *serve, cwd=folder), f"127.0.0.1:{port}")
    for command in others:
        run(command)
    assert "still back" in run(["client", "call", f"localhost:{port}", "/", "--text", "still"])


def test_the_commands_for_keys(folder: Path, start, zflow_command, run, port) -> None:
    robot = run(["keygen", "--keys", "robot-keys"]).strip()
    [keygen, *_] = commands_of("Who gets in")
    server = run(keygen).strip()
    _, allow, serve, ping = commands_of(
        "Who gets in",
        **{"12345": str(port), "server:": "localhost:", "0.0.0.0": "127.0.0.1"},
        PUBLIC_KEY_OF_THE_ROBOT=robot,
        PUBLIC_KEY_OF_THE_SERVER=server,
    )
    run(allow)
    read_until(start(*zflow_command, *serve, cwd=folder), f"127.0.0.1:{port}")
    assert "serving" in run(ping)


def test_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)\b(?=[`\s])", README))
    assert {"demo", "test", "check", "bench"} <= named
    assert named <= targets | {"make"}, named - targets


def test_modules_that_the_walk_names_exist() -> None:
    walk = README.split("## One request")[1].split("## What differs")[0]
    named = re.findall(r"(?:zflow|protocol|bench)/[\w/]+\.\w+", walk)
    assert len(named) > 15
    for path in named:
        assert (ROOT / path).exists(), path
