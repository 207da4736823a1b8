"""Under a real systemd: a machine without a network, on which a bundle is installed, started, wounded and ended.

The machine is a container whose first process is systemd. Workers, and the gateway or head before them, are units with
keys, which tell systemd that they are ready, and by signs of life that they are not stuck.
"""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engine import base_image, docker, engine_fault
from tests.support.processes import read_until, wait_for

EXECUTOR = """
import time
from zflow import Executor, requests
class Store(Executor):
    @requests(on=['/', '/again'], idempotent=True)
    def work(self, docs, **kwargs):
        time.sleep(0.002)
        docs.texts = [text.upper() for text in docs.texts]
    @requests(on='/hang')
    def hang(self, docs, **kwargs):
        time.sleep(1000)
    def close(self):
        print('closed', flush=True)
"""
FLOW = """
jtype: Flow
with: {name: stock, port: 12345}
executors:
- {name: store, uses: store.yml, shards: 2, replicas: 2, polling: ALL, timeout_send: 5000}
"""
DEPLOYMENT = """
jtype: Deployment
with: {name: store, port: 12345, uses: store.yml, shards: 2, replicas: 2, polling: ALL}
"""
ASK = """
import sys
from zflow import Client, DocumentArray
from zflow.errors import ZflowError
on, many = sys.argv[1], int(sys.argv[2])
errors, done = [], 0
def note(response, error):
    global done
    done += 1
    errors.extend([repr(error)] if error else [])
    if done % 100 == 0:
        print('answered', done, flush=True)
with Client(port=12345, keys='/root/ours', server_key=open('/root/theirs').read().strip()) as client:
    docs = DocumentArray.empty(many)
    docs.texts = ['a'] * many
    client.post(on, docs, request_size=1, prefetch=16, timeout=20, on_always=note, on_error=lambda: None)
print('over', len(errors), 'errors', *errors[:3], flush=True)
"""
# Credentials are mounted where units find them by a process of its own: what is mounted must be seen by all.
START = """
mount --make-rshared /
for place in /sys/fs/cgroup /sys/fs/cgroup/systemd; do mount -o remount,rw $place 2>/dev/null; done
exec /lib/systemd/systemd
"""
_RIGHTS = ["--cap-add=SYS_ADMIN", "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"]
_PLACES = ["--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock", "--tmpfs=/tmp", "--env=container=docker"]

pytestmark = [
    pytest.mark.skipif(bool(engine_fault()), reason=engine_fault()),
    pytest.mark.time_limit(900),  # whoever comes first makes the image, and wheels are fetched
]


class Board:
    """A machine that runs by systemd, and has Python, but no network."""

    def __init__(self, container: str) -> None:
        self._container = container

    def __call__(self, *words: str, check: bool = True) -> str:
        return docker("exec", self._container, *words, timeout=120, check=check)

    def command(self, *words: str) -> list[str]:
        return ["docker", "exec", self._container, *words]

    def write(self, path: str, text: str) -> None:
        self("sh", "-c", f"mkdir -p $(dirname {path}) && printf %s {shlex.quote(text)} > {path}")

    def zflow(self, *words: str) -> str:
        return self("/opt/it/current/venv/bin/zflow", *words)

    def about(self, unit: str, *properties: str) -> list[str]:
        return [self("systemctl", "show", "--value", f"--property={name}", unit) for name in properties]

    def is_serving(self, unit: str) -> bool:
        """It has said that it is ready."""
        return self.about(unit, "ActiveState", "SubState") == ["active", "running"]

    def ask(self, on: str, many: int) -> str:
        return self("/opt/it/current/venv/bin/python", "/root/ask.py", on, str(many))


@pytest.fixture
def board() -> Iterator[Board]:
    """It has been started. Skipped where systemd does not run in a container."""
    name = docker("run", "--detach", "--network=none", *_RIGHTS, *_PLACES, base_image(), "sh", "-c", START)
    made = Board(name)
    try:
        told, until = "", time.monotonic() + 30
        while told not in ("running", "degraded"):
            told = made("systemctl", "is-system-running", check=False)
            if time.monotonic() > until:
                pytest.skip(f"systemd does not run in a container here: {told} {docker('logs', name)[-300:]}")
        yield made
    finally:
        docker("rm", "--force", name)


@pytest.fixture(params=[FLOW, DEPLOYMENT], ids=["gateway", "head"])
def installed(request: pytest.FixtureRequest, board: Board, tmp_path: Path) -> Board:
    """What was packed runs there, and there are keys for who asks."""
    (tmp_path / "store.py").write_text(EXECUTOR)
    (tmp_path / "store.yml").write_text("jtype: Store\nmetas: {py_modules: [store.py]}\n")
    (tmp_path / "what.yml").write_text(request.param)
    words = ["what.yml", "it.tar", "--folder", "/opt/it", "--keys", "/etc/zflow/keys"]
    words += ["--python", "3.11", "--platform", f"manylinux_2_36_{platform.machine()}"]
    packed = subprocess.run(
        [sys.executable, "-m", "zflow", "bundle", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert packed.returncode == 0, packed.stderr
    with open(tmp_path / "it.tar", "rb") as archive:
        unpack = ["docker", "exec", "--interactive", board.command()[2], "tar", "x", "--directory=/root"]
        subprocess.run(unpack, stdin=archive, check=True)
    [folder] = board("sh", "-c", "ls -d /root/st*").split()
    board("sh", f"{folder}/install.sh", "--start")
    board.write("/root/ask.py", ASK)
    board("sh", "-c", "/opt/it/current/venv/bin/zflow keygen --keys /root/ours > /root/mine")
    board("cp", "/etc/zflow/keys/public.key", "/root/theirs")
    board.zflow("keys", "allow", "tester", board("cat", "/root/mine"), "--keys", "/etc/zflow/keys")
    return board


def units_of(board: Board) -> list[str]:
    told = board("systemctl", "list-units", "--all", "--plain", "--no-legend", "st*.service")
    return [line.split()[0] for line in told.splitlines()]


def test_a_life_under_systemd(installed: Board, start: Callable[..., subprocess.Popen[str]]) -> None:
    board = installed
    units = units_of(board)
    [front] = [unit for unit in units if "gateway" in unit or "head" in unit]
    [target] = {"stock.target", "store.target"} & set(board("ls", "/etc/systemd/system").split())
    workers = [unit for unit in units if unit != front]
    assert len(workers) == 4
    all_are_started_again(board, target, units)  # with the list of who may call as it is now
    assert board.ask("/", 1).splitlines()[-1] == "over 0 errors"
    nothing_is_lost_while_one_is_killed(board, workers[1], start)
    make_it_impatient(board, *units)
    all_are_started_again(board, target, units)
    who_gives_no_sign_of_life_is_replaced(board, front, workers)
    assert board.ask("/", 1).splitlines()[-1] == "over 0 errors"
    it_ends_in_time_and_leaves_nothing(board, target, units)


def all_are_started_again(board: Board, target: str, units: list[str]) -> None:
    board("systemctl", "restart", target)
    for unit in units:
        wait_for(lambda unit=unit: board.is_serving(unit), f"{unit} to be ready", 60)


def make_it_impatient(board: Board, *units: str) -> None:
    """Half a minute without a sign of life is what is exported; nobody wants to wait for that here."""
    for unit in units:
        board.write(f"/etc/systemd/system/{unit}.d/impatient.conf", "[Service]\nWatchdogSec=8\n")
    board("systemctl", "daemon-reload")


def nothing_is_lost_while_one_is_killed(board: Board, unit: str, start: Callable[..., subprocess.Popen[str]]) -> None:
    asking = start(*board.command("/opt/it/current/venv/bin/python", "/root/ask.py", "/again", "1000"))
    read_until(asking, "answered 300")
    board("systemctl", "kill", "--signal=KILL", unit)
    assert "over 0 errors" in read_until(asking, "^over")
    wait_for(lambda: board.about(unit, "NRestarts") != ["0"] and board.is_serving(unit), f"{unit} to be back", 60)


def who_gives_no_sign_of_life_is_replaced(board: Board, front: str, workers: list[str]) -> None:
    """A front that is stopped, and workers whose code hangs: two requests reach both replicas of each shard."""
    board("systemctl", "kill", "--signal=STOP", front)
    wait_for(lambda: board.about(front, "NRestarts") != ["0"] and board.is_serving(front), f"{front} to be back", 60)
    board.ask("/hang", 2)
    for unit in (front, *workers):
        wait_for(lambda unit=unit: was_late(board, unit) and board.is_serving(unit), f"{unit} to be replaced", 60)


def was_late(board: Board, unit: str) -> bool:
    return "Watchdog timeout" in board("journalctl", "--no-pager", "--unit", unit)


def it_ends_in_time_and_leaves_nothing(board: Board, target: str, units: list[str]) -> None:
    board("systemctl", "stop", target)
    for unit in units:
        wait_for(lambda unit=unit: board.about(unit, "ActiveState") == ["inactive"], f"{unit} to end", 40)
        assert board.about(unit, "Result") == ["success"]
    assert "closed" in board("journalctl", "--no-pager", "--unit", "st*shard-*")
    assert board("sh", "-c", "ls /run/zflow 2>/dev/null", check=False) == ""
    assert board("sh", "-c", "cat /proc/[0-9]*/comm | grep zflow", check=False) == ""
