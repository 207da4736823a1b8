"""`zflow check`: faults on stderr and exit code 2, or the graph on stdout and 0; the rest is zflow/review.py's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zflow.cli import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "flow.yml"


def check(file: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["check", str(file), *options])


def test_a_flow_without_faults_is_drawn(file: Path) -> None:
    file.write_text("jtype: Flow\nexecutors: [{name: first}]\n")
    result = check(file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "●  first    passes documents through" in result.stdout


def test_an_image_is_named_and_not_looked_into(file: Path) -> None:
    file.write_text("jtype: Flow\nexecutors: [{name: boxed, uses: 'docker://me/boxed:1', replicas: 2}]\n")
    assert "docker://me/boxed:1, 2 replicas" in check(file).stdout
    file.write_text("jtype: Flow\nexecutors:\n- {uses: 'docker://Me/x'}\n- {uses: 'docker://x', py_modules: a.py}\n")
    told = check(file).stderr
    assert 'executor0: "Me/x" is no image' in told or '"Me/x" is no image' in told
    assert "py_modules is not for a container" in told


def test_faults_are_told_and_nothing_is_drawn(file: Path) -> None:
    file.write_text("jtype: Flow\nwith: {prt: 1}\nexecutors:\n- replicas: two\n")
    result = check(file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == [
        "flow.yml:2 with.prt: unknown option \"prt\": did you mean 'port'?",
        'flow.yml:4 executors[0].replicas: expected a whole number, got "two"',
    ]


def test_for_editors(file: Path) -> None:
    file.write_text("jtype: Flow\nexecutors:\n- replicas: two\n")
    result = check(file, "--json")
    assert (result.exit_code, result.stderr) == (2, "")
    [fault] = json.loads(result.stdout)["faults"]
    assert (fault["line"], fault["path"]) == (3, "executors[0].replicas")


def test_context_is_given_by_key_and_value(file: Path) -> None:
    file.write_text("jtype: Flow\nexecutors:\n- replicas: ${{ CONTEXT.n }}\n")
    assert "3 replicas" in check(file, "--context", "n=3").stdout
    assert check(file, "--context", "n").exit_code == 2
