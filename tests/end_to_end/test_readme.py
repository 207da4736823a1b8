"""Every example of README.md runs and prints what stands below it; every command it shows is one that exists."""

from __future__ import annotations

import re
import subprocess
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


def test_the_commands_for_a_standalone_executor(tmp_path: Path, start, zflow_command, port) -> None:
    commands = re.findall(r"^zflow (.*)$", README.split("## Executors that stand alone")[1], re.MULTILINE)
    assert len(commands) == 3
    (tmp_path / "my-exec.yml").write_text("jtype: Mine\nmetas:\n  py_modules: [mine.py]\n")
    (tmp_path / "mine.py").write_text(
        "from zflow import Executor, requests\n"
        "class Mine(Executor):\n"
        "    @requests\n"
        "    def add(self, docs, **kwargs):\n"
        "        docs.texts = [text + ' back' for text in docs.texts]\n"
    )
    words = [re.sub("12345", str(port), command).replace("'", "").split(" ") for command in commands]
    executor = start(*zflow_command, *words[0], cwd=tmp_path)
    read_until(executor, f"127.0.0.1:{port}")
    for command, expected in zip(words[1:], ("serving", "hello back")):
        done = subprocess.run([*zflow_command, *command], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


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
