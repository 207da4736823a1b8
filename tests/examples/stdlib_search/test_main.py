"""The demo: what it prints, and that the encoder is gone afterwards whatever happened. The Flow has its own tests."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from questions import Question

QUESTION = Question("How do I copy a file?", frozenset({"shutil.copy", "shutil.copyfile"}))
HIT = [("shutil.copy", 0.7), ("os.rename", 0.51)]
MISS = [("os.rename", 0.51), ("os.link", 0.5)]
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


@pytest.fixture(scope="module")
def main() -> ModuleType:
    """main.py under a name of its own, for every example may have a main."""
    path = Path(__file__).parents[3] / "examples" / "stdlib_search" / "main.py"
    spec = importlib.util.spec_from_file_location("stdlib_search_main", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago; nothing is bound to it by these tests."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def running(monkeypatch: pytest.MonkeyPatch, main: ModuleType, code: str) -> list[subprocess.Popen[str]]:
    """The processes that stand for the encoder: Pythons with `code`, started when the demo starts it."""
    started: list[subprocess.Popen[str]] = []
    start = subprocess.Popen

    def instead(command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
        assert command[1:4] == ["-m", "zflow", "executor"]
        assert env["OPENBLAS_NUM_THREADS"] == "1"
        process = start([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.stdout.close()
        return process

    monkeypatch.setattr(main.subprocess, "Popen", instead)
    return started


def test_a_row_marks_answered_questions_and_the_answers(main: ModuleType) -> None:
    assert main.row(QUESTION, HIT) == "+ How do I copy a file?\n      0.70 shutil.copy*   0.51 os.rename"
    assert main.row(QUESTION, MISS) == "- How do I copy a file?\n      0.51 os.rename   0.50 os.link"


def test_the_report_counts_the_questions_answered(main: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.report([QUESTION, QUESTION, QUESTION, QUESTION], [HIT, MISS, MISS, MISS]) == 1
    assert "1 of 4 questions answered in the first 3: 25%" in capsys.readouterr().out


def test_the_encoder_is_gone_when_the_demo_fails(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    started = running(monkeypatch, main, SLEEPER)
    with pytest.raises(KeyError), main.encoder(free_port):
        raise KeyError("the demo")
    assert started[0].returncode is not None


def test_an_encoder_that_ignores_being_asked_is_killed(
    main: ModuleType, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setattr(main, "GONE_WITHIN", 0.05)
    started = running(monkeypatch, main, STUBBORN)
    with main.encoder(free_port):
        pass
    assert started[0].returncode == -9


def test_a_taken_port_is_refused_before_anything_starts(main: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    started = running(monkeypatch, main, SLEEPER)
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"port {port} is taken; .* --port-in"), main.encoder(port):
            pass
    assert not started


def test_an_encoder_that_ended_is_not_waited_for(main: ModuleType, free_port: int) -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"]) as process:
        process.wait(30)
        with pytest.raises(SystemExit, match="ended with exit code 7"):
            main.wait_until_ready(process, free_port)
