"""Real processes: they start, say so, die, are replaced, and end, whatever their Executors do."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import is_alive, wait_for
from zflow.config.plan import Plan
from zflow.drivers.directory import Directory
from zflow.errors import ConfigError, ExecutorError, PortInUse, StartError, Unavailable
from zflow.executor import Executor, requests
from zflow.processes import restart_policy, supervisor
from zflow.processes.logs import Log
from zflow.processes.supervisor import Supervisor

Supervise = Callable[..., Supervisor]
Ask = Callable[..., dict[str, Any]]


class Witness(Executor):
    """Notes in `notes` what happens to it; does what it is told in __init__ and close."""

    def __init__(self, notes: str = "", at_birth: str = "", at_close: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notes = notes
        self.at_close = at_close
        self.note("made")
        misbehave(at_birth)

    def note(self, what: str) -> None:
        if self.notes:
            with open(self.notes, "a") as notes:
                notes.write(f"{what} {self.runtime_args.name} {os.getpid()}\n")

    @requests
    def tell(self, **kwargs: Any) -> dict[str, Any]:
        return {"pid": os.getpid(), "env": os.environ.get("WHO"), "cwd": os.getcwd(), "argv": sys.argv}

    @requests(on="/misbehave")
    def misbehave(self, parameters: dict[str, Any], **kwargs: Any) -> None:
        self.note("asked")
        misbehave(parameters["how"])

    def close(self) -> None:
        self.note("closed")
        misbehave(self.at_close)


def misbehave(how: str) -> None:
    if how == "raise":
        raise RuntimeError("on purpose")
    if how == "exit":
        os._exit(9)
    if how == "sys.exit":
        sys.exit(9)
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "abort":
        os.abort()
    if how == "sleep":
        time.sleep(60)
    if how == "term":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    if how.startswith("raise if "):
        if Path(how.removeprefix("raise if ")).exists():
            raise RuntimeError("on purpose")


def pids(supervised: Supervisor) -> list[int]:
    return [process.pid for process in supervised.status() if process.pid is not None]


def pid_of(supervised: Supervisor, name: str) -> int | None:
    return next(process.pid for process in supervised.status() if process.name == name)


def is_ready(supervised: Supervisor, name: str, *, not_pid: int | None = None) -> bool:
    found = next(process for process in supervised.status() if process.name == name)
    return found.state == "ready" and found.pid != not_pid


def lines(notes: Path) -> list[str]:
    return [line.split()[0] for line in notes.read_text().splitlines()] if notes.exists() else []


# -- birth -------------------------------------------------------------------------------------------------------------


def test_start_returns_when_everything_is_ready(plan_of: Callable[..., Plan]) -> None:
    told: list[tuple[list[str], list[str]]] = []
    directory = Directory()
    supervised = Supervisor(
        plan_of(Witness, replicas=2), directory=directory, on_progress=lambda *names: told.append(names)
    )
    assert not supervised.alive
    supervised.start()
    try:
        assert supervised.alive
        assert told[0] == (["executor0", "gateway"], [])
        assert told[-1] == ([], ["executor0", "gateway"])
        assert [(process.name, process.state, process.restarts) for process in supervised.status()] == [
            ("executor0/rep-0", "ready", 0),
            ("executor0/rep-1", "ready", 0),
            ("gateway", "ready", 0),
        ]
        assert len(set(pids(supervised))) == 3 and all(map(is_alive, pids(supervised)))
        assert sorted(directory.all()) == ["executor0/rep-0", "executor0/rep-1"]
        assert all(address.startswith("ipc://") for address in directory.all().values())
        assert supervised.gateway_address.startswith("tcp://127.0.0.1:")
    finally:
        born = pids(supervised)
        supervised.close()
    assert not any(map(is_alive, born))
    assert not supervised.alive
    assert directory.all() == {}
    assert {process.state for process in supervised.status()} == {"gone"}
    supervised.close()


@pytest.mark.parametrize("start_method", ["warm", "spawn"])
def test_a_child_has_the_paths_the_arguments_and_the_variables_it_was_given(
    supervise: Supervise, ask: Ask, start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["some", "arguments"])
    supervised = supervise(Witness, start_method=start_method, env={"WHO": "me"})
    [told] = ask(supervised).values()
    assert told["pid"] == pid_of(supervised, "executor0/rep-0")
    assert told["env"] == "me"
    assert told["cwd"] == os.getcwd()
    assert told["argv"] == ["some", "arguments"]


def test_variables_that_only_a_fresh_interpreter_sees_get_one(supervise: Supervise, ask: Ask) -> None:
    class Hashes(Executor):
        @requests
        def tell(self, **kwargs: Any) -> dict[str, Any]:
            return {"seeded": sys.flags.hash_randomization, "hash": hash("zflow")}

    supervised = supervise(Hashes, replicas=2, env={"PYTHONHASHSEED": "7"})
    told = [ask(supervised) for _ in range(4)]
    assert {answer["hash"] for answers in told for answer in answers.values()} == {told[0].popitem()[1]["hash"]}


@pytest.mark.parametrize("start_method", ["warm", "spawn"])
def test_a_process_that_cannot_start_ends_the_start_with_its_own_traceback(
    supervise: Supervise, start_method: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    with pytest.raises(StartError) as raised:
        supervise(Witness, start_method=start_method, uses_with={"at_birth": "raise", "notes": str(notes)}, replicas=2)
    assert raised.value.peer in ("executor0/rep-0", "executor0/rep-1")
    assert "RuntimeError: on purpose" in str(raised.value)
    assert 'raise RuntimeError("on purpose")' in raised.value.traceback
    assert "entry.py" not in raised.value.traceback
    assert "closed" not in lines(notes)  # there was nothing to close


@pytest.mark.parametrize(
    ("how", "told"),
    [("exit", "ended with exit code 9"), ("crash", "was killed by SIGSEGV"), ("sys.exit", "SystemExit")],
)
def test_a_process_that_dies_before_it_is_ready_ends_the_start(supervise: Supervise, how: str, told: str) -> None:
    with pytest.raises(StartError, match=told) as raised:
        supervise(Witness, uses_with={"at_birth": how})
    assert raised.value.peer == "executor0/rep-0"


def test_a_process_that_comes_too_late_is_asked_what_it_does(supervise: Supervise) -> None:
    began = time.monotonic()
    with pytest.raises(StartError, match=r"not ready within 2\.5 s") as raised:
        supervise(Witness, uses_with={"at_birth": "sleep"}, timeout_ready=2500)
    assert "time.sleep(60)" in raised.value.traceback
    assert time.monotonic() - began < 10.0


def test_the_others_close_when_one_cannot_start(supervise: Supervise, tmp_path: Path) -> None:
    """One replica is ready before the other fails."""
    notes, flag = tmp_path / "notes", tmp_path / "flag"

    class Second(Witness):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            if self.runtime_args.replica_id == 1:
                wait_for(lambda: lines(notes).count("made") == 2, "the other one to be made")
                flag.touch()
                time.sleep(0.1)
                raise RuntimeError("the second")

    with pytest.raises(StartError, match="the second"):
        supervise(Second, replicas=2, uses_with={"notes": str(notes)})
    assert flag.exists()
    assert [line.split()[:2] for line in notes.read_text().splitlines() if line.startswith("closed")] == [
        ["closed", "executor0/rep-0"]
    ]


def test_a_port_in_use_is_told_with_its_number(supervise: Supervise) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=f"gateway: .*{port}"):
            supervise(Witness, flow_port=port)
        with pytest.raises(PortInUse, match=f"executor0/rep-0: .*{port}"):
            supervise(Witness, port_in=port)


def test_a_worker_with_a_port_is_reached_there(supervise: Supervise, ask: Ask) -> None:
    supervised = supervise(Witness, port_in=0)
    assert ask(supervised)["executor0/rep-0"]["pid"] == pid_of(supervised, "executor0/rep-0")


def test_what_cannot_travel_is_refused_before_anything_is_asked_to_start(supervise: Supervise) -> None:
    with pytest.raises(ConfigError, match=r"executor0/rep-0 cannot be sent to its process: .*uses_with"):
        supervise(Witness, uses_with={"notes": threading.Lock()})


def test_an_interrupt_while_it_starts_ends_everything(plan_of: Callable[..., Plan]) -> None:
    def interrupt(waiting: object, ready: list[str]) -> None:
        if ready:
            raise KeyboardInterrupt

    supervised = Supervisor(plan_of(Witness), directory=Directory(), on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        supervised.start()
    assert pids(supervised) == [] and not supervised.alive


def test_a_plan_without_processes_is_ready_at_once(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(Witness)._replace(workers=(), gateway=None)
    supervised = Supervisor(plan, directory=Directory())
    supervised.start()
    assert supervised.alive and supervised.status() == [] and supervised.gateway_address == ""
    supervised.close()


# -- death -------------------------------------------------------------------------------------------------------------


def test_a_killed_replica_is_replaced_at_a_new_address(
    supervise: Supervise, ask: Ask, logged: Callable[[], str]
) -> None:
    supervised = supervise(Witness)
    [told] = ask(supervised).values()
    os.kill(told["pid"], signal.SIGKILL)
    wait_for(lambda: is_ready(supervised, "executor0/rep-0", not_pid=told["pid"]), "the next incarnation")
    assert ask(supervised)["executor0/rep-0"]["pid"] == pid_of(supervised, "executor0/rep-0") != told["pid"]
    assert supervised.status()[0].restarts == 1
    assert supervised.status()[1].restarts == 0
    assert f"executor0/rep-0 (pid {told['pid']}) was killed by SIGKILL; it is started again in 0.1 s" in logged()


@pytest.mark.parametrize("how", ["exit", "crash", "abort"])
def test_every_kind_of_death_in_user_code_is_told_and_repaired(supervise: Supervise, ask: Ask, how: str) -> None:
    supervised = supervise(Witness)
    before = pid_of(supervised, "executor0/rep-0")
    with pytest.raises(Unavailable) as raised:
        ask(supervised, "/misbehave", parameters={"how": how})
    assert raised.value.maybe_executed
    wait_for(lambda: is_ready(supervised, "executor0/rep-0", not_pid=before), "the next incarnation")
    assert ask(supervised)["executor0/rep-0"]["pid"] != before


def test_a_method_that_calls_sys_exit_is_told_and_its_process_goes_on(supervise: Supervise, ask: Ask) -> None:
    supervised = supervise(Witness)
    before = pid_of(supervised, "executor0/rep-0")
    with pytest.raises(ExecutorError, match=r"SystemExit\(9\); a method cannot end its process"):
        ask(supervised, "/misbehave", parameters={"how": "sys.exit"})
    assert ask(supervised)["executor0/rep-0"]["pid"] == before


def test_a_replica_that_is_told_to_end_closes_once_and_is_replaced(supervise: Supervise, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    supervised = supervise(Witness, uses_with={"notes": str(notes)})
    before = pid_of(supervised, "executor0/rep-0")
    assert before is not None
    os.kill(before, signal.SIGTERM)
    wait_for(lambda: is_ready(supervised, "executor0/rep-0", not_pid=before), "the next incarnation")
    assert lines(notes) == ["made", "closed", "made"]


def test_a_killed_gateway_comes_back_on_the_same_port(supervise: Supervise, ask: Ask) -> None:
    supervised = supervise(Witness)
    address, before = supervised.gateway_address, pid_of(supervised, "gateway")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: is_ready(supervised, "gateway", not_pid=before), "the next gateway")
    assert supervised.gateway_address == address
    assert ask(supervised)["executor0/rep-0"]["pid"] == pid_of(supervised, "executor0/rep-0")


def test_one_that_cannot_start_again_fails_visibly_and_is_tried_again(
    supervise: Supervise, tmp_path: Path, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restart_policy, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(restart_policy, "LAST_PAUSE", 0.5)
    broken = tmp_path / "broken"
    supervised = supervise(Witness, uses_with={"at_birth": f"raise if {broken}"}, replicas=2)
    untouched = pid_of(supervised, "executor0/rep-1")
    broken.touch()
    before = pid_of(supervised, "executor0/rep-0")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: supervised.status()[0].state == "failed", "the failure to be visible")
    assert supervised.status()[0].restarts == restart_policy.BURST
    assert pid_of(supervised, "executor0/rep-1") == untouched
    broken.unlink()
    wait_for(lambda: is_ready(supervised, "executor0/rep-0"), "it to be tried again")
    told = logged()
    assert "executor0/rep-0 could not start again" in told
    assert "RuntimeError: on purpose" in told
    assert "too often: it has failed" in told


def test_one_that_hangs_when_it_starts_again_is_killed_and_tried_again(
    supervise: Supervise, tmp_path: Path, logged: Callable[[], str]
) -> None:
    class Hangs(Witness):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            if lines(notes).count("made") == 2:
                misbehave("sleep")

    notes = tmp_path / "notes"
    supervised = supervise(Hangs, uses_with={"notes": str(notes)})
    child = supervised._children[0]
    child.plan = child.plan._replace(timeout_ready=1.5)  # for the restarts: the start may take what it needs
    before = pid_of(supervised, "executor0/rep-0")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: lines(notes).count("made") >= 3 and is_ready(supervised, "executor0/rep-0"), "the third one")
    assert supervised.status()[0].restarts >= 2
    told = logged()
    assert "executor0/rep-0 was not ready within 1.5 s (timeout_ready); it is killed while it did this:" in told
    assert "time.sleep(60)" in told


def test_a_lack_of_descriptors_delays_a_restart_and_ends_nothing(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    supervised = supervise(Witness, replicas=2)
    untouched = pid_of(supervised, "executor0/rep-1")
    socketpair, refusals = socket.socketpair, 2

    def scarce() -> tuple[socket.socket, socket.socket]:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return socketpair()

    monkeypatch.setattr("zflow.processes.nursery.socket.socketpair", scarce)
    before = pid_of(supervised, "executor0/rep-0")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: is_ready(supervised, "executor0/rep-0", not_pid=before), "the next incarnation")
    assert supervised.status()[0].restarts == 3
    assert pid_of(supervised, "executor0/rep-1") == untouched
    assert logged().count("executor0/rep-0 could not be started: [Errno 24] Too many open files") == 2


def test_the_end_of_the_warm_parent_ends_its_children_and_all_are_replaced(
    supervise: Supervise, ask: Ask, logged: Callable[[], str]
) -> None:
    supervised = supervise(Witness, replicas=2)
    before = pids(supervised)
    nursery = supervised._births.nursery
    assert nursery is not None
    os.kill(nursery.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, before)), "the orphans to end")
    for process in supervised.status():
        name = process.name
        wait_for(lambda name=name: is_ready(supervised, name) and pid_of(supervised, name) not in before, name)
    assert ask(supervised)
    assert "the parent of all processes was killed by SIGKILL" in logged()


# -- the end -----------------------------------------------------------------------------------------------------------


def test_closing_runs_close_once_in_each_worker(supervise: Supervise, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    supervised = supervise(Witness, replicas=3, uses_with={"notes": str(notes)})
    supervised.close()
    assert sorted(lines(notes)) == ["closed"] * 3 + ["made"] * 3


def test_closing_waits_for_what_is_under_way(supervise: Supervise, ask: Ask, tmp_path: Path) -> None:
    notes = tmp_path / "notes"

    class Slow(Witness):
        @requests(on="/slow")
        def slow(self, **kwargs: Any) -> dict[str, Any]:
            self.note("asked")
            time.sleep(0.5)
            return {"slept": True}

    supervised = supervise(Slow, uses_with={"notes": str(notes)})
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(ask(supervised, "/slow")))
    asking.start()
    wait_for(lambda: "asked" in lines(notes), "the request to run")
    supervised.close()
    asking.join(10.0)
    assert answers == [{"executor0/rep-0": {"slept": True}}]
    assert lines(notes) == ["made", "asked", "closed"]


def test_a_request_longer_than_the_grace_is_given_up_but_close_runs(
    supervise: Supervise, ask: Ask, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    supervised = supervise(Witness, uses_with={"notes": str(notes)})
    outcomes: list[object] = []

    def asking() -> None:
        try:
            outcomes.append(ask(supervised, "/misbehave", parameters={"how": "sleep"}))
        except Unavailable as error:
            outcomes.append(error)

    thread = threading.Thread(target=asking)
    thread.start()
    wait_for(lambda: "asked" in lines(notes), "the request to run")
    began = time.monotonic()
    supervised.close(grace=0.3)
    assert time.monotonic() - began < 0.3 + 3.0
    thread.join(10.0)
    assert len(outcomes) == 1 and isinstance(outcomes[0], Unavailable)
    assert lines(notes) == ["made", "asked", "closed"]


def test_a_close_that_raises_is_logged_and_the_process_ends(
    supervise: Supervise, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes"
    supervised = supervise(Witness, uses_with={"notes": str(notes), "at_close": "raise"})
    supervised.close()
    assert lines(notes) == ["made", "closed"]
    told = capfd.readouterr().err
    assert "[E]:RuntimeError('on purpose')" in told and "executor0/rep-0@" in told


def test_a_close_that_hangs_is_given_up(supervise: Supervise, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    supervised = supervise(Witness, uses_with={"notes": str(notes), "at_close": "sleep"})
    began = time.monotonic()
    supervised.close(grace=1.0)
    assert time.monotonic() - began < 1.0 + 2.5
    assert lines(notes) == ["made", "closed"]


def test_a_frozen_process_is_killed(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "MARGIN", 0.2)
    supervised = supervise(Witness)
    frozen = pid_of(supervised, "executor0/rep-0")
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    supervised.close(grace=0.5)
    assert not is_alive(frozen)


def test_a_frozen_warm_parent_is_killed_with_its_children(
    supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MARGIN", 0.1)
    monkeypatch.setattr("zflow.processes.births._ANSWER", 0.1)
    monkeypatch.setattr("zflow.processes.nursery._FAREWELL", 0.2)
    supervised = supervise(Witness)
    assert supervised._births.nursery is not None
    everybody = [*pids(supervised), supervised._births.nursery.pid]
    os.kill(supervised._births.nursery.pid, signal.SIGSTOP)
    supervised.close(grace=0.2)
    wait_for(lambda: not any(map(is_alive, everybody)), "all of them to end")


def test_closing_while_one_waits_to_be_restarted(supervise: Supervise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart_policy, "FIRST_PAUSE", 60.0)
    supervised = supervise(Witness)
    before = pid_of(supervised, "executor0/rep-0")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: supervised.status()[0].state == "waiting to be restarted", "its end to be noticed")
    supervised.close()
    assert {process.state for process in supervised.status()} == {"gone"}


def test_closing_in_start_up_interrupts_what_is_being_made(plan_of: Callable[..., Plan], tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    plan = plan_of(Witness, uses_with={"notes": str(notes), "at_birth": "sleep"})
    supervised = Supervisor(plan, directory=Directory())
    ended: list[Exception] = []

    def start() -> None:
        try:
            supervised.start()
        except StartError as error:
            ended.append(error)

    starting = threading.Thread(target=start)
    starting.start()
    wait_for(lambda: "made" in lines(notes), "the Executor to be in its __init__")
    began = time.monotonic()
    supervised.close()
    assert time.monotonic() - began < 2.0
    starting.join(5.0)
    assert "closed while it started" in str(ended[0])
    assert lines(notes) == ["made"]


def test_a_process_told_to_end_in_start_up_ends_the_start(supervise: Supervise) -> None:
    with pytest.raises(StartError, match="ended with exit code 143"):
        supervise(Witness, uses_with={"at_birth": "term"})


def test_many_threads_may_close_it(supervise: Supervise, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    supervised = supervise(Witness, uses_with={"notes": str(notes)})
    threads = [threading.Thread(target=supervised.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
        assert not thread.is_alive()
    assert lines(notes) == ["made", "closed"]


def test_a_forked_copy_of_the_owner_closes_nothing(supervise: Supervise, ask: Ask) -> None:
    supervised = supervise(Witness)
    pid = os.fork()
    if not pid:
        supervised.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert supervised.alive
    assert ask(supervised)["executor0/rep-0"]["pid"] == pid_of(supervised, "executor0/rep-0")


def test_quiet_processes_say_nothing(supervise: Supervise, ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    supervised = supervise(Witness, log=Log("Flow", quiet=True))
    before = pid_of(supervised, "executor0/rep-0")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: is_ready(supervised, "executor0/rep-0", not_pid=before), "the next incarnation")
    supervised.close()
    assert capfd.readouterr().err == ""


def test_what_is_in_front_is_another_one_at_the_same_port_and_those_behind_stay(
    supervise: Supervise, ask: Ask, plan_of: Callable[..., Plan]
) -> None:
    supervised = supervise(Witness)
    address, front, worker = (
        supervised.gateway_address,
        pid_of(supervised, "gateway"),
        pid_of(supervised, "executor0/rep-0"),
    )
    other = plan_of(Witness, retries=1).gateway
    assert other is not None
    supervised.change_front(other)
    assert supervised.gateway_address == address and is_ready(supervised, "gateway", not_pid=front)
    assert pid_of(supervised, "executor0/rep-0") == worker
    ask(supervised)
    supervised.close()
    with pytest.raises(StartError, match="could not start again, and is gone"):
        supervised.change_front(other)
