"""An Executor's processes, born of one in which `preload` has run."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import descendants_of, is_alive, wait_for
from zflow.config.plan import plan_flow
from zflow.config.spec import FlowSpec
from zflow.drivers.directory import Directory
from zflow.errors import ConfigError, StartError
from zflow.executor import Executor, requests
from zflow.processes import family
from zflow.processes.supervisor import Supervisor

Supervise = Callable[..., Supervisor]


def write(what: str, **told: Any) -> None:
    """Leave a note in the folder that the environment names."""
    name = f"{what}-{os.getpid()}-{time.monotonic_ns()}.json"
    Path(os.environ["FOLDER"], name).write_text(json.dumps({"pid": os.getpid(), "parent": os.getppid(), **told}))


class Tells(Executor):
    loaded_by = 0

    @classmethod
    def preload(cls, mode: str = "") -> None:
        cls.loaded_by = os.getpid()
        comm = Path("/proc/self/comm").read_text().strip()
        write("load", comm=comm, mode=mode, variable=os.environ.get("VARIABLE"))

    def __init__(self, mode: str = "", other: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        write("life", loaded_by=self.loaded_by)

    @requests
    def nothing(self, **kwargs: Any) -> None: ...


class Notes:
    """What processes have written into `folder`, one dict for each, oldest first."""

    def __init__(self, folder: Path) -> None:
        self.env = {"FOLDER": str(folder)}
        self._folder = folder

    def of(self, what: str) -> list[dict[str, Any]]:
        paths = sorted(self._folder.glob(f"{what}-*.json"), key=lambda path: int(path.stem.rpartition("-")[2]))
        return [json.loads(path.read_text()) for path in paths]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    folder = tmp_path / "notes"
    folder.mkdir()
    return Notes(folder)


def states(supervisor: Supervisor) -> list[tuple[str, int]]:
    return [(status.state, status.restarts) for status in supervisor.status()[:-1]]


def test_it_loads_once_for_all_in_a_process_of_its_own(supervise: Supervise, notes: Notes) -> None:
    env = {**notes.env, "VARIABLE": "yes"}
    supervisor = supervise(Tells, replicas=3, uses_with={"mode": "fast", "other": 1}, env=env)
    [load] = notes.of("load")
    assert load["comm"] == "executor0/preload"[:15] and load["mode"] == "fast" and load["variable"] == "yes"
    lives = notes.of("life")
    assert len({life["pid"] for life in lives}) == 3
    assert {life["parent"] for life in lives} == {life["loaded_by"] for life in lives} == {load["pid"]}
    assert load["pid"] in descendants_of(os.getpid())
    assert {life["pid"] for life in lives} == {status.pid for status in supervisor.status()[:-1]}


def test_who_is_started_again_shares_what_is_loaded(supervise: Supervise, notes: Notes) -> None:
    supervisor = supervise(Tells, env=notes.env)
    os.kill(notes.of("life")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: states(supervisor) == [("ready", 1)], "a restart")
    before, after = notes.of("life")
    assert after["pid"] != before["pid"] and after["loaded_by"] == before["loaded_by"] == after["parent"]
    assert len(notes.of("load")) == 1


def test_when_it_dies_its_children_do_and_all_is_loaded_again(supervise: Supervise, notes: Notes) -> None:
    supervisor = supervise(Tells, replicas=2, env=notes.env)
    pids = [life["pid"] for life in notes.of("life")]
    os.kill(notes.of("load")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: states(supervisor) == [("ready", 1), ("ready", 1)], "both to be started again")
    assert not any(is_alive(pid) for pid in pids)
    _, load = notes.of("load")
    assert {life["loaded_by"] for life in notes.of("life")[2:]} == {load["pid"]}


def test_two_executors_do_not_share_theirs(notes: Notes) -> None:
    spec = FlowSpec.from_options(env=notes.env).add(uses=Tells, name="one").add(uses=Tells, name="two")
    supervisor = Supervisor(plan_flow(spec), directory=Directory())
    supervisor.start()
    supervisor.close(2.0)
    one, two = notes.of("load")
    assert {one["comm"], two["comm"]} == {"one/preload", "two/preload"}
    assert {life["loaded_by"] for life in notes.of("life")} == {one["pid"], two["pid"]}


def test_closing_ends_it(supervise: Supervise, notes: Notes) -> None:
    supervise(Tells, replicas=2, env=notes.env).close(2.0)
    assert not is_alive(notes.of("load")[0]["pid"])


def test_what_it_opened_stays_open_and_what_is_not_theirs_is_closed(supervise: Supervise, notes: Notes) -> None:
    supervise(Opens, replicas=2, env=notes.env)
    for life in notes.of("life"):
        assert life["read"] == "weights"
        assert len(life["sockets"]) == 3  # its own channel, and what its lifeline is woken by


class Opens(Executor):
    @classmethod
    def preload(cls) -> None:
        path = Path(os.environ["FOLDER"], "weights")
        path.write_text("weights")
        cls.file = path.open()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        targets = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                targets.append(os.readlink(f"/proc/self/fd/{fd}"))
            except OSError:
                continue  # that of the listing
        sockets = [target for target in targets if target.startswith("socket:")]
        write("life", read=os.pread(self.file.fileno(), 100, 0).decode(), sockets=sockets)


def test_where_variables_are_read_at_birth_it_is_a_fresh_interpreter(supervise: Supervise, notes: Notes) -> None:
    supervise(Tells, replicas=2, env={**notes.env, "OMP_NUM_THREADS": "1", "VARIABLE": "yes"})
    [load] = notes.of("load")
    assert load["variable"] == "yes"
    assert b"OMP_NUM_THREADS=1" in Path("/proc/{pid}/environ".format(**load)).read_bytes().split(b"\0")
    assert {life["parent"] for life in notes.of("life")} == {life["loaded_by"] for life in notes.of("life")}
    assert notes.of("life")[0]["parent"] == load["pid"]


# -- where it cannot be ------------------------------------------------------------------------------------------------


class Fails(Executor):
    @classmethod
    def preload(cls) -> None:
        raise OSError("no such weights")


def test_what_it_raises_ends_the_start(supervise: Supervise, logged: Callable[[], str]) -> None:
    with pytest.raises(StartError, match="executor0/rep-[01] could not start: OSError: no such weights") as raised:
        supervise(Fails, replicas=2)
    trace = str(raised.value.traceback)
    assert 'raise OSError("no such weights")' in trace
    assert logged() == ""
    assert "preload_once" not in trace and "processes/family.py" not in trace


def test_an_argument_that_it_lacks_ends_the_start(supervise: Supervise) -> None:
    class Lacks(Executor):
        @classmethod
        def preload(cls, model: str) -> None: ...

    with pytest.raises(StartError, match=r"Lacks\.preload: missing a required argument: 'model'"):
        supervise(Lacks)


def test_its_time_counts_in_timeout_ready_and_the_error_shows_what_it_did(supervise: Supervise) -> None:
    class Endless(Executor):  # travels by value: nothing has to be imported
        @classmethod
        def preload(cls) -> None:
            while True:
                time.sleep(0.01)

    before = set(descendants_of(os.getpid()))
    with pytest.raises(StartError, match="was not ready within 2 s .* and was still at work") as raised:
        supervise(Endless, replicas=2, timeout_ready=2000)
    assert "time.sleep(0.01)" in str(raised.value.traceback)
    assert not set(descendants_of(os.getpid())) - before


def test_when_it_is_loaded_again_and_takes_too_long_only_that_is_given_up(
    supervise: Supervise, notes: Notes, logged: Callable[[], str]
) -> None:
    class Ages(Executor):
        @classmethod
        def preload(cls) -> None:
            mark = Path(os.environ["FOLDER"], "mark")
            if not mark.exists():
                mark.write_text(str(os.getpid()))
                return
            while True:
                time.sleep(0.01)

    supervisor = supervise(Ages, timeout_ready=2000, env=notes.env)
    before = supervisor.status()
    os.kill(int(Path(notes.env["FOLDER"], "mark").read_text()), signal.SIGKILL)
    wait_for(lambda: supervisor.status()[0].restarts >= 2, "a second attempt")
    assert supervisor.status()[-1] == before[-1]  # the gateway is not concerned
    told = logged()
    assert "was not ready within 2 s (timeout_ready); it is killed while it did this" in told
    assert "time.sleep(0.01)" in told


class Threads(Tells):
    @classmethod
    def preload(cls) -> None:
        cls.loaded_by = os.getpid()
        threading.Thread(target=threading.Event().wait, name="restless").start()  # not even a daemon

    def close(self) -> None:
        os._exit(0)  # nobody else would end that thread


def test_where_it_leaves_threads_each_process_loads_for_itself_and_the_log_says_so(
    supervise: Supervise, notes: Notes, logged: Callable[[], str]
) -> None:
    supervisor = supervise(Threads, replicas=2, env=notes.env)
    lives = notes.of("life")
    assert len(lives) == 2 and all(life["loaded_by"] == life["pid"] for life in lives)
    warning = "executor0: each process runs preload() for itself, and they share nothing: it left threads running"
    assert logged().count(f"[W]:{warning} (restless)") == 1
    assert states(supervisor) == [("ready", 0), ("ready", 0)]
    assert len({life["parent"] for life in lives}) == 1  # the one that could not bear them is gone


class Computes(Tells):
    @classmethod
    def preload(cls) -> None:
        import numpy

        matrix = numpy.ones((600, 600))
        assert (matrix @ matrix)[0, 0] == 600.0
        cls.loaded_by = os.getpid()


def test_threads_of_numpy_are_ended_in_time(supervise: Supervise, notes: Notes) -> None:
    supervise(Computes, env=notes.env)
    [life] = notes.of("life")
    assert life["loaded_by"] == life["parent"]


def test_fresh_interpreters_load_for_themselves(supervise: Supervise, notes: Notes) -> None:
    supervise(Tells, start_method="spawn", env=notes.env)
    [load], [life] = notes.of("load"), notes.of("life")
    assert load["pid"] == life["pid"]


def test_a_gpu_that_is_open_is_a_reason_not_to_share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(family, "why_not_to_fork", lambda: "")
    assert family.why_not_to_share() == ""
    device = tmp_path / "nvidia0"
    device.touch()
    monkeypatch.setattr(family, "_DEVICES", str(tmp_path))
    with device.open():
        assert family.why_not_to_share() == "it opened a GPU"


def test_threads_that_python_does_not_know_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family, "why_not_to_fork", lambda: "the warm parent has 2 threads")
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.main_thread()])
    assert family.why_not_to_share() == "it left threads running (of a library, not of Python)"


# -- classes that nobody knew before -----------------------------------------------------------------------------------

MODULE = """
from tests.processes.test_family import Tells, write

class Base(Tells):
    @classmethod
    def preload(cls, fail=False):
        if fail:
            raise ValueError("bad weights")
        super().preload()

class Late(Base):
    def __init__(self, fail=False, **kwargs):
        super().__init__(**kwargs)
"""


@pytest.fixture
def late(tmp_path: Path) -> dict[str, Any]:
    """Options for a class that nobody here has imported."""
    (tmp_path / "late_classes.py").write_text(MODULE)
    return {"uses": "late_classes:Late", "py_modules": [str(tmp_path / "late_classes.py")]}


def test_a_class_that_only_its_process_can_import_loads_once(
    supervise: Supervise, notes: Notes, late: dict[str, Any]
) -> None:
    supervisor = supervise(**late, replicas=2, env=notes.env)
    [load] = notes.of("load")
    lives = notes.of("life")
    assert len(lives) == 2 and {life["loaded_by"] for life in lives} == {load["pid"]}
    assert states(supervisor) == [("ready", 0), ("ready", 0)]
    os.kill(lives[0]["pid"], signal.SIGKILL)
    wait_for(lambda: sorted(states(supervisor)) == [("ready", 0), ("ready", 1)], "a restart")
    assert len(notes.of("load")) == 1


def test_it_fails_with_its_own_traceback(supervise: Supervise, notes: Notes, late: dict[str, Any]) -> None:
    with pytest.raises(StartError, match="ValueError: bad weights") as raised:
        supervise(**late, replicas=2, uses_with={"fail": True}, env=notes.env)
    assert 'raise ValueError("bad weights")' in str(raised.value.traceback)


def test_what_cannot_be_had_here_is_refused_before_anything_starts(supervise: Supervise, notes: Notes) -> None:
    with pytest.raises(ConfigError, match="executor0: cpus: core 4000 cannot be used here"):
        supervise(Tells, cpus=[4000], env=notes.env)
    assert notes.of("load") == []


def test_a_thread_that_is_about_to_be_gone_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["two threads", "two threads", ""]
    monkeypatch.setattr(family, "why_not_to_fork", lambda: answers.pop(0))
    monkeypatch.setattr(family, "end_idle_threads", lambda: None)
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    family._let_threads_end()
    assert answers == []
