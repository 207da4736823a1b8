"""`zflow bundle`: words become wishes, and what was done is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from zflow import bundling
from zflow.bundling import Bundle, Wishes
from zflow.cli import main
from zflow.processes.wheels import Machine


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What packing was asked for."""
    heard: list[Any] = []

    def pack(spec: Any, file: Path, archive: Path, wishes: Wishes, context: Any) -> Bundle:
        heard.extend((spec, file, archive, wishes, context))
        archive.write_bytes(b"x" * 1_500_000)
        return Bundle(archive, "abc", ("flow.yml",), ("a.whl", "b.whl"), ("keys: holds a secret key",))

    monkeypatch.setattr(bundling, "bundle", pack)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yml").write_text("jtype: Flow\nwith: {name: '${{ CONTEXT.name }}'}\nexecutors: [{name: a}]\n")
    return heard


def test_words_are_passed_on_and_the_outcome_is_told(asked: list[Any]) -> None:
    words = ["--python", "3.11", "--platform", "manylinux_2_28_aarch64", "--require", "model>=1", "--requirements"]
    words += ["--leave-out", "*.bin", "--folder", "/srv/x", "--first-port", "20000", "--keys", "/srv/keys"]
    done = CliRunner().invoke(main, ["bundle", "flow.yml", "x.tar.gz", "--context", "name=search", *words])
    assert done.exit_code == 0, done.output
    assert done.stdout == "abc  x.tar.gz\n"
    assert done.stderr == "not packed: keys: holds a secret key\n1 files, 2 wheels, 1.5 MB\n"
    spec, file, archive, wishes, context = asked
    assert (spec.name, str(file), str(archive), context) == ("search", "flow.yml", "x.tar.gz", {"name": "search"})
    machine = Machine("3.11", ("manylinux_2_28_aarch64",))
    assert wishes == Wishes("/srv/x", machine, ("model>=1",), True, ("*.bin",), "/srv/keys", 20000)


def test_what_was_not_said_is_the_default(asked: list[Any]) -> None:
    assert CliRunner().invoke(main, ["bundle", "flow.yml", "x.tar", "--context", "name=search"]).exit_code == 0
    assert asked[3] == Wishes()
