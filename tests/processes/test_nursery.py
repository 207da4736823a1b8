"""The supervisor's end of the warm parent."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import is_alive, wait_for
from zflow.config.plan import Plan
from zflow.errors import StartError
from zflow.executor import Executor
from zflow.processes.channel import Channel, Words
from zflow.processes.child import Child
from zflow.processes.logs import Log
from zflow.processes.nursery import Nursery, end_orphan, exit_in_words


@pytest.fixture
def nursery(ipc_directory: Path) -> Iterator[Nursery]:
    made = Nursery(str(ipc_directory / "sockets"))
    yield made
    made.close()


def hear(channel: Channel, wanted: Callable[[Words], bool]) -> Words:
    """The first words that are `wanted`."""
    while True:
        assert channel.wait(10.0), "nothing was said"
        for words in channel.receive():
            if wanted(words):
                return words


def test_its_births_and_deaths_are_told(nursery: Nursery) -> None:
    channel = nursery.ask_for("a", fork=True, preload=[], env={})
    born = hear(nursery.channel, lambda words: words.get("child") == "a")
    assert born["because"] == "" and is_alive(born["pid"])
    channel.close()  # it waits for its plan, and there will be none
    assert hear(nursery.channel, lambda words: "ended" in words) == {"ended": born["pid"], "status": 0}


def test_a_fresh_interpreter_is_born_and_told_of_alike(nursery: Nursery) -> None:
    channel = nursery.ask_for("a", fork=False, preload=[], env={"OF_THE_TEST": "yes"})
    born = hear(nursery.channel, lambda words: words.get("child") == "a")
    assert born["because"] == "asked for"
    environ = Path(f"/proc/{born['pid']}/environ")
    wait_for(lambda: b"OF_THE_TEST=yes" in environ.read_bytes().split(b"\0"), "the interpreter to have it")
    nursery.kill(born["pid"])
    assert hear(nursery.channel, lambda words: "ended" in words) == {"ended": born["pid"], "status": -signal.SIGKILL}
    with pytest.raises(EOFError):
        channel.receive()
    channel.close()


class Loads(Executor):
    @classmethod
    def preload(cls) -> None: ...


def test_a_family_is_founded_once_and_anew_when_asked(nursery: Nursery, plan_of: Callable[..., Plan]) -> None:
    child = Child(plan_of(Loads).workers[0])
    words = child.first_words("ipc:///a", {}, Log("Flow"))

    def bear(name: str) -> tuple[Channel, int]:
        """Its channel and its parent; it is not told where to bind, so that it comes no further."""
        channel = nursery.ask_for(name, fork=True, preload=[], env={}, family=child.family(words))
        channel.send({**words, "bind": "ipc:///no/such/folder/a.sock"})
        pid = hear(nursery.channel, lambda told: told.get("child") == name)["pid"]
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return channel, parent

    born = [bear(name) for name in "ab"]
    nursery.renew("executor0")
    born.append(bear("c"))
    parents = [parent for _, parent in born]
    assert parents[0] == parents[1] != parents[2]
    assert nursery.pid not in parents
    for channel, _ in born:
        channel.close()
    wait_for(lambda: not is_alive(parents[0]), "the parent that has no children any more to end")
    assert is_alive(parents[2])


def test_only_children_are_killed(nursery: Nursery) -> None:
    bystander = os.fork()
    if not bystander:
        signal.pause()
        os._exit(0)
    nursery.kill(bystander)
    channel = nursery.ask_for("a", fork=True, preload=[], env={})
    hear(nursery.channel, lambda words: words.get("child") == "a")  # the word before was heard, too
    assert is_alive(bystander)
    os.kill(bystander, signal.SIGKILL)
    os.waitpid(bystander, 0)
    channel.close()


def test_closing_it_ends_its_children_and_removes_their_sockets(ipc_directory: Path) -> None:
    sockets = ipc_directory / "sockets"
    sockets.mkdir()
    (sockets / "a-1.sock").touch()
    nursery = Nursery(str(sockets))
    channels = [nursery.ask_for(name, fork=True, preload=[], env={}) for name in "ab"]
    pids = [hear(nursery.channel, lambda words, name=name: words.get("child") == name)["pid"] for name in "a"]
    assert nursery.close() == "ended with exit code 0"
    wait_for(lambda: not any(map(is_alive, pids)), "the children to end")
    assert not sockets.exists()
    for channel in channels:
        channel.close()


def test_a_frozen_one_is_killed(ipc_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zflow.processes.nursery._FAREWELL", 0.1)
    nursery = Nursery(str(ipc_directory / "sockets"))
    os.kill(nursery.pid, signal.SIGSTOP)
    assert nursery.close() == "did not answer"
    assert not is_alive(nursery.pid)


def test_a_terminals_signals_do_not_reach_it(nursery: Nursery) -> None:
    assert os.getsid(nursery.pid) == nursery.pid != os.getsid(0)


def test_no_interpreter_is_told_as_such(ipc_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(StartError, match="no process can be started here: .*/no/such/python"):
        Nursery(str(ipc_directory))


def test_orphans_can_be_ended_twice() -> None:
    orphan = os.fork()
    if not orphan:
        signal.pause()
        os._exit(0)
    end_orphan(orphan)
    assert os.waitstatus_to_exitcode(os.waitpid(orphan, 0)[1]) == -signal.SIGKILL
    end_orphan(orphan)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (-9, "was killed by SIGKILL"),
        (-200, "was killed by signal 200"),
    ],
)
def test_exits_in_words(code: int, words: str) -> None:
    assert exit_in_words(code) == words
