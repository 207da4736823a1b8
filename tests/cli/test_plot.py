"""`zflow plot`: a file becomes a picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zflow.cli import main


def plot(*words: object) -> Result:
    return CliRunner().invoke(main, ["plot", *map(str, words)])


@pytest.mark.parametrize("kind", ["Flow", "Deployment"])
def test_what_a_file_describes_is_drawn(tmp_path: Path, kind: str) -> None:
    described = {"Flow": "executors: [{name: first}]", "Deployment": "with: {name: first}"}[kind]
    (tmp_path / "it.yml").write_text(f"jtype: {kind}\n{described}\n")
    result = plot(tmp_path / "it.yml", tmp_path / "it.svg")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "first" in (tmp_path / "it.svg").read_text()


def test_context_is_given_by_key_and_value(tmp_path: Path) -> None:
    (tmp_path / "it.yml").write_text("jtype: Flow\nexecutors: [{name: '${{ CONTEXT.name }}'}]\n")
    assert plot(tmp_path / "it.yml", tmp_path / "it.mmd", "--context", "name=given").exit_code == 0
    assert "given" in (tmp_path / "it.mmd").read_text()


def test_another_kind_of_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "it.yml").write_text("jtype: Flow\n")
    result = plot(tmp_path / "it.yml", tmp_path / "it.png")
    assert result.exit_code == 2
    assert ".png" in result.stderr and "known: .mmd, .svg" in result.stderr
