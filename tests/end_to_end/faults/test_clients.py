"""Clients that are killed while their requests wait: row 12 of docs/reliability.md."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_for
from tests.support.rush import runs
from zflow import Client, Document, Executor, Flow, requests
from zflow.probing import ping

WITHIN = 4.0  # seconds until nothing is held for them any more

CROWD = """
import sys, threading
from zflow import Client, Document
from zflow.errors import Unavailable

def ask(text):
    while True:
        try:
            return Client(port=int(sys.argv[1])).post('/', Document(text=text, blob=bytes(10_000)))
        except Unavailable as error:  # on two cores it may take long until all of them are connected
            assert not error.maybe_executed

for number in range(int(sys.argv[3])):
    threading.Thread(target=ask, args=(f'{sys.argv[2]}-{number}',), daemon=True).start()
sys.stdin.read()
"""


class Gated(Executor):
    """Writes down what it begins, and ends it when the gate is open."""

    def __init__(self, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = Path(folder)

    @requests
    def wait(self, docs, **kwargs):
        with open(self.folder / "runs", "a") as diary:
            diary.write(docs[0].text + "\n")
        wait_for((self.folder / "gate").exists, "the gate to be opened", timeout=120)
        docs[0].blob = b""


@pytest.mark.parametrize(
    ("processes", "each"), [(4, 10), pytest.param(20, 50, marks=[pytest.mark.full, pytest.mark.time_limit(300)])]
)
def test_row_12_nothing_is_held_or_begun_for_clients_that_were_killed(
    tmp_path: Path, processes: int, each: int
) -> None:
    with Flow(quiet=True).add(uses=Gated, uses_with={"folder": str(tmp_path)}) as flow:

        def held() -> int:
            inflight: int = ping(f"tcp://127.0.0.1:{flow.port}", timeout=30.0)["inflight"]
            return inflight

        command = [sys.executable, "-c", CROWD, str(flow.port)]
        crowd = [
            subprocess.Popen([*command, str(number), str(each)], stdin=subprocess.PIPE) for number in range(processes)
        ]
        try:
            wait_for(lambda: held() == processes * each, "all of them to have asked", timeout=200)
        finally:
            for process in crowd:
                process.kill()
            for process in crowd:
                process.communicate()
        began = time.monotonic()
        wait_for(lambda: held() == 0, "nothing to be held for them", timeout=60)
        took = time.monotonic() - began
        (tmp_path / "gate").touch()
        with Client(port=flow.port) as client:
            client.post("/", Document(text="who lives"))
    ran = runs(tmp_path / "runs")
    print(f"{processes * each} clients killed: nothing is held after {took:.1f} s, {len(ran) - 1} had begun")
    assert took < WITHIN
    assert set(ran.values()) == {1}
    assert len(ran) <= 1 + 5, "the one that was running, those that had been sent, and the one who lives"
