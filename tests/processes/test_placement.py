"""Which device a process sees, and which cores it is kept on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zflow.config.plan import Plan
from zflow.errors import ConfigError
from zflow.processes import placement
from zflow.processes.placement import (
    Placement,
    common_env,
    cores_here,
    devices_here,
    keep_on,
    lines_about,
    placement_of,
)

Plans = Callable[..., Plan]
VARIABLE = "CUDA_VISIBLE_DEVICES"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No GPUs, whatever the machine has."""
    for name in (VARIABLE, "CUDA_TOTAL_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(placement, "_DRIVER", "/no/such/driver")
    monkeypatch.setenv("PATH", "/no/such/folder")
    placement._counted.cache_clear()
    yield
    placement._counted.cache_clear()


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "cores_here", lambda: [0, 1, 2, 3])


def visible(plan: Plan) -> list[str | None]:
    return [placement_of(worker).env.get(VARIABLE) for worker in plan.workers]


# -- devices -----------------------------------------------------------------------------------------------------------


def test_devices_are_given_in_turn(plan_of: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "2")
    plan = plan_of(None, replicas=3, env={VARIABLE: "RR", "MODE": "fast"})
    assert visible(plan) == ["0", "1", "0"]
    assert common_env(plan.workers[0]) == {"MODE": "fast"}
    assert lines_about(plan.workers) == [
        f"executor0: {VARIABLE} is rep-0: 0, rep-1: 1, rep-2: 0 (of 2, says CUDA_TOTAL_DEVICES)"
    ]


def test_without_a_word_about_them_nothing_is_given(plan_of: Plans) -> None:
    plan = plan_of(None, replicas=2, env={VARIABLE: "0,1"})
    assert visible(plan) == [None, None] and lines_about(plan.workers) == []
    assert common_env(plan.workers[0]) == {VARIABLE: "0,1"}
    assert plan.gateway is not None and placement_of(plan.gateway) == Placement({})


def test_where_nobody_knows_how_many_there_are_the_log_says_so(plan_of: Plans) -> None:
    plan = plan_of(None, replicas=3, env={VARIABLE: "RR"})
    assert visible(plan) == ["0", "1", "2"]
    assert "not known, so replicas are counted; set CUDA_TOTAL_DEVICES" in lines_about(plan.workers)[0]


def test_only_those_that_the_flow_may_see_are_given(plan_of: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "5, 7")
    plan = plan_of(None, replicas=3, env={VARIABLE: "RR"})
    assert visible(plan) == ["5", "7", "5"]
    assert devices_here().names == ("5", "7")


def test_the_environment_may_ask_for_it_as_well(plan_of: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "RR1:3")
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "4")
    assert visible(plan_of(None, replicas=3)) == ["1", "2", "1"]
    assert visible(plan_of(None, replicas=2, env={VARIABLE: "0"})) == [None, None]


def test_the_driver_is_asked_before_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(placement, "_DRIVER", str(tmp_path))
    assert devices_here() == (("0", "1", "2"), "of 3, says the driver")


def test_nvidia_smi_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho '  MIG 1g'\necho 'GPU 1: A (UUID: GPU-2)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices_here() == (("0", "1"), "of 2, says nvidia-smi")


def test_a_program_that_fails_knows_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices_here().names is None


def test_faults_name_the_executor(plan_of: Plans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "2")
    with pytest.raises(ConfigError, match="^executor0: CUDA_VISIBLE_DEVICES: RR4:6 asks for a device that is not here"):
        visible(plan_of(None, env={VARIABLE: "RR4:6"}))
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "many")
    with pytest.raises(ConfigError, match="CUDA_TOTAL_DEVICES: expected the number of devices, got 'many'"):
        visible(plan_of(None, env={VARIABLE: "RR"}))


# -- cores -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("four_cores")
def test_cores_are_given_in_turn_and_threads_follow(plan_of: Plans) -> None:
    plan = plan_of(None, replicas=3, cpus=2, env={"NUMEXPR_NUM_THREADS": "7"})
    given = [placement_of(worker) for worker in plan.workers]
    assert [item.cores for item in given] == [(0, 1), (2, 3), (0, 1)]
    assert given[0].env == {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    assert lines_about(plan.workers)[0].startswith("executor0: cores are rep-0: 0-1, rep-1: 2-3, rep-2: 0-1")


@pytest.mark.usefixtures("four_cores")
def test_cores_that_are_not_there_are_refused(plan_of: Plans) -> None:
    with pytest.raises(ConfigError, match="^executor0: cpus: cores 4-5 cannot be used here; there are 0-3"):
        placement_of(plan_of(None, cpus="3-5").workers[0])


@pytest.mark.usefixtures("four_cores")
def test_shards_go_on_where_the_one_before_ended(plan_of: Plans) -> None:
    [worker] = plan_of(None, cpus=1).workers
    told_of_it = {**worker.runtime_args, "replicas": 2, "shards": 2, "shard_id": 1, "replica_id": 1}
    assert placement_of(worker._replace(runtime_args=told_of_it)).cores == (3,)


def test_where_processes_cannot_be_kept_on_cores_the_log_says_so(
    plan_of: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sched_setaffinity", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    assert cores_here() == range(os.cpu_count() or 1)
    keep_on([0])
    assert lines_about(plan_of(None, cpus=1).workers) == [
        "executor0: cores are rep-0: 0; this system cannot keep them there"
    ]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is nothing to keep a process on a core with")
def test_threads_stay_where_the_first_one_is() -> None:
    core = min(os.sched_getaffinity(0))
    program = (
        "import os, sys, threading\n"
        "from zflow.processes.placement import keep_on\n"
        "keep_on([int(sys.argv[1])])\n"
        "threading.Thread(target=lambda: print(os.sched_getaffinity(0))).start()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(core)], capture_output=True, text=True, timeout=20)
    assert done.stdout == f"{{{core}}}\n", done.stderr
