"""Hosts that do not hear of each other for a while: rows 13 and 14 of docs/reliability.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support.hosts import THERE, Hosts
from tests.support.processes import read_until

FAR = """
from zflow import Executor, requests
class Far(Executor):
    @requests
    def note(self, docs, **kwargs):
        with open({runs!r}, 'a') as runs:
            runs.write(docs[0].text + '\\n')
"""

ASK = """
import json, sys, time
from zflow import Client, Document, Flow
from zflow.errors import ZflowError

def ask(asker, many, timeout):
    outcomes, slowest = {}, 0.0
    for number in range(many):
        began = time.monotonic()
        try:
            asker.post('/', Document(text=str(number)), timeout=timeout)
            outcomes[number] = 'answered'
        except ZflowError as error:
            outcomes[number] = type(error).__name__ + (', may have run' if error.maybe_executed else '')
        slowest = max(slowest, time.monotonic() - began)
        print('asked', number, flush=True)
        if number == 9:
            sys.stdin.readline()
    print('outcomes', json.dumps([outcomes, slowest]), flush=True)
"""

BY_A_FLOW = (
    ASK
    + f"""
far = dict(host={THERE!r}, port_in=12345, external=True, idempotent=IDEMPOTENT)
with Flow(quiet=True, insecure=True).add(**far) as flow:
    ask(flow, 100, 30.0)
"""
)

BY_A_CLIENT = (
    ASK
    + f"""
with Client({THERE!r}, 12345, insecure=True) as client:
    ask(client, 30, 0.5)
"""
)


@pytest.fixture
def far(hosts: Hosts, tmp_path: Path, start, zflow_command) -> Path:
    """Serves an Executor on the other host; the file to which it appends what it runs."""
    runs = tmp_path / "runs"
    (tmp_path / "far.py").write_text(FAR.format(runs=str(runs)))
    (tmp_path / "far.yml").write_text("jtype: Far\nmetas:\n  py_modules: [far.py]\n")
    command = (*zflow_command, "executor", "--uses", str(tmp_path / "far.yml"), "--port-in", "12345")
    process = start("ip", "netns", "exec", hosts.there, *command, "--host", "0.0.0.0", "--insecure")
    read_until(process, "0.0.0.0:12345")
    return runs


def parted(hosts: Hosts, asking: subprocess.Popen[str], seconds: float) -> tuple[Counter[str], float]:
    """Cut the cable for a while when ten requests have been asked. Returns the outcomes, and the slowest request."""
    read_until(asking, "asked 9$")
    assert asking.stdin is not None
    with hosts.parted():
        asking.stdin.close()  # it may go on
        time.sleep(seconds)  # the fault itself
    told = re.search(r"outcomes (.*)", read_until(asking, "outcomes"))
    assert told is not None
    outcomes, slowest = json.loads(told[1])
    return Counter(outcomes.values()), slowest


@pytest.mark.time_limit(90)
@pytest.mark.parametrize("seconds", [2.0, pytest.param(5.0, marks=pytest.mark.full)])
def test_row_13_a_partition_that_ends_loses_nothing_that_is_idempotent(
    hosts: Hosts, far: Path, start, seconds: float
) -> None:
    asking = start(
        "ip",
        "netns",
        "exec",
        hosts.here,
        sys.executable,
        "-c",
        BY_A_FLOW.replace("IDEMPOTENT", "True"),
        stdin=subprocess.PIPE,
    )
    outcomes, slowest = parted(hosts, asking, seconds)
    assert outcomes == {"answered": 100}
    assert set(Counter(far.read_text().split())) == {str(number) for number in range(100)}
    assert slowest < seconds + 10


@pytest.mark.time_limit(90)
def test_row_13_after_a_long_one_what_may_have_run_says_so_and_nothing_has_run_twice(
    hosts: Hosts, far: Path, start
) -> None:
    asking = start(
        "ip",
        "netns",
        "exec",
        hosts.here,
        sys.executable,
        "-c",
        BY_A_FLOW.replace("IDEMPOTENT", "False"),
        stdin=subprocess.PIPE,
    )
    outcomes, slowest = parted(hosts, asking, 9.0)
    assert set(outcomes) == {"answered", "Unavailable, may have run"} | set(outcomes) & {"Unavailable"}
    assert outcomes["Unavailable, may have run"] == 1
    assert set(Counter(far.read_text().split()).values()) == {1}
    assert slowest < 4 + 2  # it is found out within four seconds, without any deadline


@pytest.mark.time_limit(90)
def test_row_14_a_client_that_is_cut_off_hears_of_its_deadline(hosts: Hosts, far: Path, start) -> None:
    asking = start("ip", "netns", "exec", hosts.here, sys.executable, "-c", BY_A_CLIENT, stdin=subprocess.PIPE)
    outcomes, slowest = parted(hosts, asking, 2.0)
    assert set(outcomes) <= {"answered", "DeadlineExceeded", "DeadlineExceeded, may have run"}
    assert outcomes["answered"] < 30
    assert slowest < 0.5 + 0.5
    assert set(Counter(far.read_text().split()).values()) == {1}
