"""The program that stands in for `docker` ends what it runs, and says what the real one says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.fake_docker import install


def test_it_ends_as_told_and_knows_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    monkeypatch.setenv("FAKE_SAYS", "no such image")
    monkeypatch.setenv("FAKE_CODE", "125")
    words = ["docker", "run", "--name=a", "--mount", "type=bind,source=/box,target=/run/zflow", "exits:1"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (125, "no such image")
    gone = subprocess.run(["docker", "rm", "--force", "b"], capture_output=True, text=True)
    assert gone.returncode == 1
    assert "No such container" in gone.stderr
