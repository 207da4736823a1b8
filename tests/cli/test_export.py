"""`zflow export` is a group that further targets are added to."""

from __future__ import annotations

from click.testing import CliRunner

from zflow.cli import main


def test_a_misspelled_target_names_the_nearest() -> None:
    result = CliRunner().invoke(main, ["export", "shcema"])
    assert result.exit_code == 2
    assert "no command 'shcema': did you mean 'schema'?" in result.output


def test_targets_are_listed() -> None:
    assert "  schema  " in CliRunner().invoke(main, ["export", "--help"]).output
