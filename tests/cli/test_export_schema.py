"""`zflow export schema` prints or writes what zflow/config/schema.py makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zflow.cli import main
from zflow.cli.export_schema import _KINDS
from zflow.config.schema import KINDS, schema


def export(*words: str) -> Result:
    return CliRunner().invoke(main, ["export", "schema", *words])


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_is_printed(kind: str) -> None:
    assert json.loads(export("--kind", kind).stdout) == schema(kind)


def test_all_kinds_are_written_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "zflow.schema.json"
    result = export("-o", str(file))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{file}\n")
    assert json.loads(file.read_text("utf-8")) == schema()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    result = export("-o", str(tmp_path / "none" / "s.json"))
    assert result.exit_code == 2
    assert "s.json cannot be written: No such file or directory" in result.stderr


def test_the_command_line_knows_the_kinds() -> None:
    assert _KINDS == KINDS
