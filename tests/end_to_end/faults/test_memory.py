"""Executors that take more memory than there is: rows 24 and 25 of docs/reliability.md."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cgroup import Cgroup, bounded, cgroup_fault
from tests.support.processes import read_until
from tests.support.rush import Diarist, Rush
from zflow import Client, Document, Flow, requests
from zflow.errors import ExecutorError, Unavailable

MEGA = 1 << 20
LEAK = 50 * MEGA
ROOM = 400 * MEGA  # for leaks, besides what a process has from the beginning
OF_A_THREAD = 136 * MEGA  # addresses, hardly any of it memory: the stack of a porter, and glibc's arena for it

Replicated = Callable[..., Flow]


class Leaky(Diarist):
    """It has a bound on its memory, and keeps 50 MB of every request to /leak."""

    def __init__(self, diary: str, **kwargs: Any) -> None:
        super().__init__(diary, **kwargs)
        most = psutil.Process().memory_info().vms + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        self._kept: list[bytearray] = []

    @requests(on="/leak")
    def leak(self, docs, **kwargs):
        self._kept.append(bytearray(LEAK))
        self._work(docs)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS bounds nothing here")
def test_row_24_a_leak_ends_in_errors_that_say_so_and_new_replicas_end_them(replicated: Replicated) -> None:
    with replicated(uses=Leaky, replicas=1) as flow, Client(port=flow.port) as client:
        rush = Rush(client, 40, on="/leak").run()
        rush.check()
        assert (ROOM - OF_A_THREAD) // LEAK - 2 <= rush.many - len(rush.errors) <= ROOM // LEAK
        assert {type(error) for error in rush.errors.values()} == {ExecutorError}
        assert {error.name for error in rush.errors.values()} == {"MemoryError"}  # type: ignore[attr-defined]
        beside = Rush(client, 40).run()
        beside.check()
        assert beside.errors == {}, "what needs little is served"
        assert sum(status.restarts for status in flow.status()) == 0
        flow.rolling_update("diarist")
        after = Rush(client, 4, on="/leak").run()
        after.check()
        assert after.errors == {}


MOST = 512 * MEGA
OF_THE_USER = 215 * MEGA  # more than is left for a replica until all is gone: its size alone would not make it the one

GREEDY = f"""
import json, sys
from zflow import Executor, Flow, requests

class Greedy(Executor):
    @requests
    def answer(self, docs, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper()

    @requests(on='/take')
    def take(self, **kwargs):
        taken = []
        while True:
            taken.append(bytearray({MEGA}))

if __name__ == '__main__':
    data = bytearray({OF_THE_USER})
    with Flow(quiet=True).add(uses=Greedy, name='greedy', replicas=2) as flow:
        print('serves', flow.port, flush=True)
        for line in sys.stdin:
            told = [[status.name, status.pid, status.state] for status in flow.status()]
            print('status', json.dumps(told), flush=True)
"""


def status_of(process: subprocess.Popen[str]) -> dict[str, tuple[int, str]]:
    """The pid and the state of each process of the Flow, by name."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    told = json.loads(read_until(process, "^status").rpartition("status ")[2])
    return {name: (pid, state) for name, pid, state in told}


def expendability(pid: int) -> int:
    """What the kernel adds to the size of a process when it looks for one to kill."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@pytest.fixture
def cgroup() -> Iterator[Cgroup]:
    if reason := cgroup_fault():
        pytest.skip(reason)
    with bounded(MOST) as made:
        yield made


@pytest.mark.parametrize("deaths", [3, pytest.param(10, marks=[pytest.mark.full, pytest.mark.time_limit(120)])])
def test_row_25_the_kernel_kills_for_memory_and_never_the_gateway_or_the_users_process(
    cgroup: Cgroup, start, deaths: int
) -> None:
    process = start(sys.executable, "-c", GREEDY, stdin=subprocess.PIPE, preexec_fn=cgroup.join)
    port = int(read_until(process, "serves").rpartition(" ")[2])
    before = status_of(process)
    assert expendability(process.pid) < expendability(before["gateway"][0]) < expendability(before["greedy/rep-0"][0])
    with Client(port=port) as client:
        for number in range(1, deaths + 1):
            with pytest.raises(Unavailable) as raised:
                client.post("/take", timeout=20)
            assert raised.value.maybe_executed and cgroup.kills >= number  # it may take the other replica as well
            assert client.post("/", Document(text="goes on"), timeout=20).texts == ["GOES ON"]
    after = status_of(process)
    assert after["gateway"] == before["gateway"]
    process.stdin.close()
    assert process.wait(20) == 0
