"""sd_notify: what is said to whom, and that signs of life come from the loop that serves."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zflow.drivers.notifying import Notifier


class Listener:
    """Who has started us, and listens."""

    def __init__(self, address: str | bytes) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(10)
        self._socket.bind(address)

    def hear(self) -> str:
        """The next thing that it is told."""
        return self._socket.recv(4096).decode()

    def is_told_nothing(self) -> bool:
        """Whether nothing waits to be heard."""
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify"))
    yield made
    made.close()


@pytest.fixture
def told(listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return str(tmp_path / "notify")


def test_ready_and_stopping_are_told(listener: Listener, told: str) -> None:
    notifier = Notifier(told)
    notifier.ready("serving at tcp://127.0.0.1:5")
    assert listener.hear() == "READY=1\nSTATUS=serving at tcp://127.0.0.1:5"
    notifier.stopping()
    assert listener.hear().splitlines()[0] == "STOPPING=1"


def test_an_abstract_socket_is_reached() -> None:
    listener = Listener(f"\0zflow-test-{os.getpid()}")
    try:
        Notifier(f"@zflow-test-{os.getpid()}").ready("here")
        assert listener.hear().startswith("READY=1")
    finally:
        listener.close()


def test_the_environment_names_the_socket_once(listener: Listener, told: str) -> None:
    notifier = Notifier.of_environment()
    assert "NOTIFY_SOCKET" not in os.environ
    notifier.ready("here")
    assert listener.hear().startswith("READY=1")
    Notifier.of_environment().ready("here")
    assert listener.is_told_nothing()


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "vsock:2:1", "relative"])
def test_nobody_who_listens_is_no_reason_not_to_serve(address: str) -> None:
    notifier = Notifier(address, 1.0)
    notifier.ready("here")
    notifier.stopping()


def test_signs_of_life_are_asked_of_the_loop(listener: Listener, told: str) -> None:
    asked: list[Callable[[], None]] = []
    is_asked = threading.Event()

    def ask(beat: Callable[[], None]) -> None:
        asked.append(beat)
        is_asked.set()

    notifier = Notifier(told, watchdog=0.15)
    notifier.watch(ask)
    assert is_asked.wait(10)
    assert listener.is_told_nothing()
    is_asked.clear()
    asked.pop()()
    assert is_asked.wait(10)
    notifier.close()
    listener._socket.setblocking(True)
    assert listener.hear() == "WATCHDOG=1"


def test_a_loop_that_hangs_is_asked_once(listener: Listener, told: str) -> None:
    asked: list[Callable[[], None]] = []
    notifier = Notifier(told, watchdog=0.15)
    notifier._is_asked = True  # and has not answered
    ending = threading.Event()
    notifier._is_ended = Waits(3, ending)
    notifier.watch(asked.append)
    assert ending.wait(10)
    assert asked == []


class Waits(threading.Event):
    """An end that comes after so many waits."""

    def __init__(self, number: int, ending: threading.Event) -> None:
        super().__init__()
        self._left, self._ending = number, ending

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == pytest.approx(0.05)
        self._left -= 1
        if self._left == 0:
            self._ending.set()
        return self._left <= 0


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [("3000000", "", 3.0), ("3000000", "mine", 3.0), ("3000000", "1", 0.0), ("often", "", 0.0), ("", "", 0.0)],
)
def test_only_whom_the_watchdog_means_it_watches(
    usec: str, pid: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "mine" else pid)
    assert Notifier.of_environment()._watchdog == expected
