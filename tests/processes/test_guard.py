"""The process that ends a container when nobody else does any more, and goes in peace when all is well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_docker import install
from zflow.processes import guard
from zflow.processes.guard import Guard, remove_container, watch_over


@pytest.fixture
def sleeper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[bytes]:
    """What the stand-in for an engine knows as the container ``mine``."""
    install(tmp_path, monkeypatch)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "mine.pid").write_text(str(process.pid))
    return process


def test_it_is_dismissed_and_ends_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    Guard("mine").dismiss()
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_when_the_attendant_is_gone_the_container_goes(sleeper: subprocess.Popen[bytes]) -> None:
    own = Guard("mine")
    os.close(own._ours)  # as the system does for who has ended
    assert sleeper.wait(20) == -9
    assert own._process.wait(20) == 0


def test_it_looks_again_for_one_that_is_just_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(guard, "remove_container", lambda name: bool(asked.append(name)) or len(asked) > 1)
    monkeypatch.setattr(guard, "_PAUSE", 0.0)
    guard.end_container("late")
    assert asked == ["late", "late"]


def test_an_attendant_that_names_nothing_has_started_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "end_container", lambda name: pytest.fail(f"{name!r} was ended"))
    reading, writing = os.pipe()
    os.close(writing)
    watch_over(reading)
    os.close(reading)


def test_removing_says_whether_there_was_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    assert not remove_container("nobody")
    monkeypatch.setenv("PATH", "/nowhere")
    assert not remove_container("nobody")


def test_it_is_small() -> None:
    code = "import sys, zflow.processes.guard; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"subprocess", "zmq", "msgpack", "zflow.config.spec"} & set(loaded)
