"""The process that all others are born from: what it shares, what it does not, and that nobody outlives the Flow."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import descendants_of, is_alive, read_until, wait_for
from zflow.executor import Executor, requests
from zflow.processes.supervisor import Supervisor

Supervise = Callable[..., Supervisor]
Ask = Callable[..., dict[str, Any]]
Run = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run a program in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(source: str, **env: str) -> subprocess.Popen[str]:
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(source))
        started.append(
            subprocess.Popen(
                [sys.executable, "-u", str(path)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]), **env},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def socket_directories() -> set[str]:
    return {path.name for path in Path(tempfile.gettempdir()).glob("zflow-*")}


# -- what children share -----------------------------------------------------------------------------------------------

NUMPY_IN_CHILDREN = """
import gc, os, sys, time
from zflow.processes.warm_parent import warm_up, why_not_to_fork
assert why_not_to_fork() == ""
warm_up(["numpy", "no_such_module"])
assert "numpy" in sys.modules and "zflow.processes.entry" in sys.modules
print("reason:", repr(why_not_to_fork()))
pid = os.fork()
if not pid:
    numpy = sys.modules["numpy"]
    matrix = numpy.ones((1000, 1000))
    assert (matrix @ matrix)[0, 0] == 1000.0
    print("threads:", len(os.listdir("/proc/self/task")) > 1)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_numpy_is_shared_and_still_computes_with_threads(run: Run) -> None:
    process = run(NUMPY_IN_CHILDREN)
    told = process.communicate(timeout=20)[0]
    assert process.returncode == 0, told
    assert "reason: ''" in told
    if len(os.sched_getaffinity(0)) > 1:
        assert "threads: True" in told


def test_threads_are_a_reason_not_to_fork(run: Run) -> None:
    process = run(
        """
        import threading
        from zflow.processes.warm_parent import warm_up, why_not_to_fork
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        warm_up([])
        print(why_not_to_fork())
        """
    )
    assert process.communicate(timeout=20)[0] == "the warm parent has 2 threads\n"


def test_importing_it_opens_nothing_and_starts_nothing(run: Run) -> None:
    process = run(
        """
        import os
        before = len(os.listdir("/dev/fd"))
        from zflow.processes.warm_parent import warm_up
        warm_up(["numpy"])
        import zmq
        print(zmq.Context._instance, len(os.listdir("/dev/fd")) - before, len(os.listdir("/proc/self/task")))
        """
    )
    assert process.communicate(timeout=20)[0] == "None 0 1\n"


def test_where_it_must_not_fork_children_are_fresh_interpreters_and_the_log_says_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading\n"
        "if 'zflow-warm-parent' in sys.orig_argv:\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    process = run(PROGRAM.format(options="", then="print(sorted(f.post('/who', return_responses=True)))"))
    told = process.communicate(timeout=30)[0]
    assert process.returncode == 0 and "ready" in told, told
    assert "[W]:processes start as fresh interpreters, not forked: the warm parent has 2 threads" in told
    assert told.count("fresh interpreters") == 1
    assert told.count("closing") == 2


class Looks(Executor):
    @requests
    def look(self, **kwargs: Any) -> dict[str, Any]:
        import random

        import numpy

        found = {}
        for fd in os.listdir("/proc/self/fd"):
            try:
                found[fd] = os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue  # that of the listing
        signals = {number: repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)}
        return {
            "sockets": [target for target in found.values() if target.startswith("socket:")],
            "stdin": found["0"],
            "random": [random.random(), float(numpy.random.random())],
            "signals": {str(int(number)): handler for number, handler in signals.items()},
            "comm": Path("/proc/self/comm").read_text().strip(),
            "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        }


def test_children_share_neither_descriptors_nor_chance(supervise: Supervise, ask: Ask) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        supervised = supervise(Looks, replicas=3, port_in=0)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    told = {}
    for address in supervised._directory.all().values():
        told.update(ask(address))
    assert len(told) == 3
    sockets = [set(answer["sockets"]) for answer in told.values()]
    assert all(sockets)
    assert not sockets[0] & sockets[1] and not sockets[0] & sockets[2] and not sockets[1] & sockets[2]
    for which in (0, 1):
        assert len({answer["random"][which] for answer in told.values()}) == 3
    for name, answer in told.items():
        assert answer["stdin"] == os.devnull
        assert answer["blocked"] == []
        assert answer["comm"] == name[:15]
        assert answer["signals"] == {
            str(int(signal.SIGINT)): repr(signal.SIG_IGN),
            str(int(signal.SIGCHLD)): repr(signal.SIG_DFL),
            str(int(signal.SIGHUP)): repr(signal.SIG_DFL),
        }


class LeavesInOrder(Executor):
    def __init__(self, notes: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notes = notes
        self.closed = threading.Event()
        atexit.register(self.note, "atexit")
        threading.Thread(target=lambda: (self.closed.wait(), time.sleep(0.1), self.note("thread"))).start()
        print("unfinished line", end="")

    def note(self, what: str) -> None:
        with open(self.notes, "a") as notes:
            notes.write(f"{what}\n")

    def close(self) -> None:
        self.note("close")
        self.closed.set()


@pytest.mark.parametrize("start_method", ["warm", "spawn"])
def test_a_process_ends_as_an_interpreter_does(
    supervise: Supervise, tmp_path: Path, capfd: pytest.CaptureFixture[str], start_method: str
) -> None:
    notes = tmp_path / "notes"
    supervise(LeavesInOrder, uses_with={"notes": str(notes)}, start_method=start_method).close()
    assert notes.read_text().split() == ["close", "thread", "atexit"]
    assert "unfinished line" in capfd.readouterr().out


# -- nobody outlives the Flow ------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys, time
from zflow import Executor, Flow, requests

class Worker(Executor):
    @requests(on='/who')
    def who(self, **kwargs):
        return {{'pid': os.getpid()}}

    @requests(on='/busy')
    def busy(self, **kwargs):
        print('busy', flush=True)
        while True:
            pass

    @requests(on='/deaf')
    def deaf(self, **kwargs):
        print('deaf', flush=True)
        import ctypes
        ctypes.PyDLL(None).sleep(60)  # holds the GIL

    def close(self):
        print('closing')

with Flow().add(uses=Worker, replicas=2{options}) as f:
    print('ready')
    {then}
"""


def assert_all_gone(children: list[int], directories: set[str], within: float) -> None:
    began = time.monotonic()
    wait_for(lambda: not any(map(is_alive, children)), "the children to end", within)
    wait_for(lambda: not socket_directories() - directories, "their sockets to be removed", within)
    assert time.monotonic() - began < within


@pytest.mark.parametrize("options", ["", ", start_method='spawn'"], ids=["warm", "spawn"])
def test_a_killed_flow_leaves_nothing_and_workers_close(run: Run, options: str) -> None:
    directories = socket_directories()
    process = run(PROGRAM.format(options=options, then="time.sleep(60)"))
    assert process.stdout is not None
    read_until(process, "^ready")
    children = descendants_of(process.pid)
    assert len(children) == 4 and socket_directories() - directories
    process.kill()
    assert_all_gone(children, directories, within=1.0)
    assert process.communicate()[0].count("closing") == 2


@pytest.mark.parametrize("how", ["busy", "deaf"])
def test_a_killed_flow_leaves_nothing_though_user_code_runs(run: Run, how: str) -> None:
    directories = socket_directories()
    process = run(PROGRAM.format(options="", then=f"f.post('/{how}')"))
    read_until(process, f"^{how}")
    children = descendants_of(process.pid)
    process.kill()
    assert_all_gone(children, directories, within=1.5)


def test_a_copy_of_the_killed_flow_keeps_nobody_alive(run: Run) -> None:
    """What the Flow's process has forked holds copies of its ends of all channels: those never close."""
    then = """
    copy = os.fork()
    if not copy:
        time.sleep(60)
    print('forked', copy, flush=True)
    time.sleep(60)
    """
    directories = socket_directories()
    process = run(PROGRAM.format(options="", then=then))
    copy = int(read_until(process, "^forked").split()[-1])
    children = [pid for pid in descendants_of(process.pid) if pid != copy]
    assert len(children) == 4
    process.kill()
    assert_all_gone(children, directories, within=1.5)
    assert is_alive(copy)
    os.kill(copy, signal.SIGKILL)


def test_the_whole_family_may_be_killed_but_one(run: Run) -> None:
    """With nobody left above it, a child ends by itself and removes what nobody else can."""
    directories = socket_directories()
    process = run(PROGRAM.format(options="", then="time.sleep(60)"))
    read_until(process, "^ready")
    children = descendants_of(process.pid)
    [warm_parent] = [pid for pid in children if b"warm-parent" in command_of(pid) and descendants_of(pid)]
    os.kill(process.pid, signal.SIGSTOP)
    os.kill(warm_parent, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    os.kill(warm_parent, signal.SIGKILL)
    process.wait()
    assert_all_gone(children, directories, within=2.0)


def test_ctrl_c_twice_does_not_wait_for_the_end_of_user_code(run: Run) -> None:
    process = run(PROGRAM.format(options="", then="f.post('/busy')"))
    read_until(process, "^busy")
    children = descendants_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)  # a person's second thought
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    process.wait(10.0)
    assert time.monotonic() - began < 3.0
    wait_for(lambda: not any(map(is_alive, children)), "the children to end")


def test_a_program_that_forgets_to_close_leaves_nothing(run: Run) -> None:
    directories = socket_directories()
    source = PROGRAM.replace("with Flow()", "f = Flow()").replace(") as f:\n", ").start()\nif True:\n")
    process = run(source.format(options="", then="print(os.getpid())"))
    read_until(process, "^ready")
    children = descendants_of(process.pid)
    process.wait(10.0)
    assert process.returncode == 0
    assert_all_gone(children, directories, within=1.5)
    assert process.communicate()[0].count("closing") == 2


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
