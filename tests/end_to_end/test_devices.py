"""Weights that replicas share, devices in turn, cores that processes are kept on: with real processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from tests.end_to_end.conftest import Run, Start
from tests.support.processes import descendants_of, is_alive, read_until, wait_for
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import ConfigError

MEBIBYTE = 1 << 20
WEIGHTS_MB = 200


class Tells(Executor):
    """Writes down where it runs; who asks in parallel would not know which replica answers."""

    def __init__(self, folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        told = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MODE")}
        Path(folder, self.runtime_args.name.replace("/", "-")).write_text(json.dumps(told))

    @requests
    def cores(self, **kwargs: Any) -> dict[str, Any]:
        tasks = [int(task) for task in os.listdir("/proc/self/task")]
        return {"cores": [sorted(os.sched_getaffinity(task)) for task in tasks], "threads": threads_of_blas()}


def threads_of_blas() -> int | None:
    """How many threads numpy's own library would use, where it can be asked."""
    import ctypes

    for path in sorted(Path(numpy.__file__).parent.parent.glob("numpy.libs/*openblas*")):
        library = ctypes.CDLL(str(path))
        for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "openblas_get_num_threads"):
            if hasattr(library, name):
                return int(getattr(library, name)())
    return None


def notes(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.iterdir())}


# -- what is loaded once -----------------------------------------------------------------------------------------------


def weights() -> Any:
    """As many as a small model has, read before they are used, as a request would."""
    made = numpy.arange(WEIGHTS_MB * MEBIBYTE // 8, dtype=numpy.float64)
    assert made.sum() > 0
    return made


class Shares(Executor):
    @classmethod
    def preload(cls) -> None:
        cls.weights = weights()

    @requests
    def add(self, docs: DocumentArray, **kwargs: Any) -> None:
        for doc in docs:
            doc.tags["sum"] = float(self.weights.sum())


class Owns(Shares):
    @classmethod
    def preload(cls) -> None: ...

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weights = weights()


def proportional_mb(pids: list[int]) -> float:
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def memory(uses: type[Executor], replicas: int) -> tuple[float, float]:
    """Of the replicas, and of all processes that a Flow started, after requests that read all weights."""
    with Flow(quiet=True).add(uses=uses, replicas=replicas) as flow:
        docs = DocumentArray(Document() for _ in range(4 * replicas))
        sums = {doc.tags["sum"] for doc in flow.post("/", inputs=docs, request_size=1)}
        assert sums == {float(weights().sum())}
        workers = [status.pid for status in flow.status() if "/rep-" in status.name and status.pid is not None]
        return proportional_mb(workers), proportional_mb(descendants_of(os.getpid()))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell who shares what")
@pytest.mark.time_limit(60)
def test_four_replicas_take_hardly_more_memory_than_one() -> None:
    one_alone, _ = memory(Owns, 1)
    assert one_alone > WEIGHTS_MB
    _, all_of_one = memory(Shares, 1)
    replicas, all_of_four = memory(Shares, 4)
    assert replicas <= 1.3 * one_alone
    assert all_of_four <= 1.3 * all_of_one  # with the process in which preload() ran, and the gateway


SCRIPT = """
import os
from zflow import Document, Executor, Flow, requests

WEIGHTS = None

class Model(Executor):
    weights = None

    @classmethod
    def preload(cls, size=3):
        global WEIGHTS
        print('loading', flush=True)
        WEIGHTS = list(range(size))
        cls.weights = WEIGHTS

    def __init__(self, size=3, **kwargs):
        super().__init__(**kwargs)

    @requests
    def foo(self, docs, **kwargs):
        for doc in docs:
            doc.tags['same'] = self.weights is WEIGHTS and len(WEIGHTS)

with Flow().add(uses=Model, replicas=3, uses_with={'size': 5}) as flow:
    docs = flow.post('/', inputs=[Document() for _ in range(12)], request_size=1)
    print({doc.tags['same'] for doc in docs})
"""


def test_a_class_of_a_script_finds_what_it_loaded(run_script: Run) -> None:
    done = run_script(SCRIPT)
    assert done.stdout == "loading\n{5}\n"


def test_an_instance_made_in_a_script_is_loaded_first(run_script: Run) -> None:
    done = run_script(
        """
        from zflow import Executor

        class Model(Executor):
            @classmethod
            def preload(cls):
                print('loading')
                cls.weights = [1]

            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                print(self.weights)

        Model(), Model()
        """
    )
    assert done.stdout == "loading\n[1]\n[1]\n"


STANDALONE = """
import os
from zflow import Executor, requests

class Model(Executor):
    @classmethod
    def preload(cls, size=1):
        print("loading", size, flush=True)
        cls.size = size

    def __init__(self, size=1, **kwargs):
        super().__init__(**kwargs)

    @requests
    def foo(self, **kwargs):
        device = os.environ.get("CUDA_VISIBLE_DEVICES")
        return {"size": self.size, "device": device, "cores": len(os.sched_getaffinity(0))}
"""


def test_an_executor_that_stands_alone_loads_and_is_placed(
    start: Start, zflow_command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "model.py").write_text(STANDALONE)
    (tmp_path / "model.yml").write_text("jtype: Model\nwith:\n  size: 7\npy_modules: model.py\n")
    options = ("--uses", "model.yml", "--cpus", "1", "--env", "CUDA_VISIBLE_DEVICES=RR1:3")
    env = {**os.environ, "CUDA_TOTAL_DEVICES": "4", "CUDA_VISIBLE_DEVICES": ""}
    process = start(*zflow_command, "executor", *options, cwd=tmp_path, env=env)
    told = read_until(process, "serving at")
    assert told.count("loading 7") == 1
    assert "CUDA_VISIBLE_DEVICES is rep-0: 1 " in told and "cores are rep-0: " in told
    port = int(told.rpartition(":")[2])
    with Client(port=port) as client:
        [response] = client.post("/", return_responses=True)
    [result] = response.results.values()
    assert result == {"size": 7, "device": "1", "cores": 1}


KILLED = """
import os, sys, time
from zflow import Executor, Flow

class Model(Executor):
    @classmethod
    def preload(cls):
        print('loading', flush=True)
        {during}

with Flow().add(uses=Model, replicas=2) as flow:
    print('ready', flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("during", "reached"), [("pass", "ready"), ("time.sleep(60)", "loading")], ids=["serving", "loading"]
)
def test_when_the_flow_is_killed_nothing_stays_behind(start: Start, tmp_path: Path, during: str, reached: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED.format(during=during))
    process = start(sys.executable, str(script))
    read_until(process, f"^{reached}")
    family = descendants_of(process.pid)
    assert len(family) >= 3
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, family)), "all processes to end")


def test_ctrl_c_while_it_loads_ends_all(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED.format(during="time.sleep(60)"))
    process = start(sys.executable, str(script))
    read_until(process, "^loading")
    family = descendants_of(process.pid)
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert not any(map(is_alive, family))


# -- devices and cores -------------------------------------------------------------------------------------------------


def test_replicas_get_devices_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "2")
    env = {"CUDA_VISIBLE_DEVICES": "RR", "MODE": "fast"}
    with Flow().add(uses=Tells, name="model", replicas=3, env=env, uses_with={"folder": str(tmp_path)}) as flow:
        os.kill(next(status.pid for status in flow.status() if status.name == "model/rep-1"), signal.SIGKILL)
        wait_for(lambda: any(status.restarts and status.state == "ready" for status in flow.status()), "a restart")
    told = notes(tmp_path)
    assert [each["CUDA_VISIBLE_DEVICES"] for each in told.values()] == ["0", "1", "0"]
    assert {each["MODE"] for each in told.values()} == {"fast"}
    line = "Flow@{}[I]:model: CUDA_VISIBLE_DEVICES is rep-0: 0, rep-1: 1, rep-2: 0 (of 2, says CUDA_TOTAL_DEVICES)"
    assert capsys.readouterr().err.count(line.format(os.getpid())) == 1


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_TOTAL_DEVICES", "2")
    flow = Flow().add(uses=Tells, name="model", env={"CUDA_VISIBLE_DEVICES": "RR0,2"})
    with pytest.raises(ConfigError, match="model: CUDA_VISIBLE_DEVICES: RR0,2 asks for a device that is not here"):
        flow.start()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot keep processes on cores")
@pytest.mark.parametrize("start_method", ["warm", "spawn"])
def test_all_threads_of_a_process_are_kept_on_its_cores(tmp_path: Path, start_method: str) -> None:
    core = max(os.sched_getaffinity(0))
    with Flow(quiet=True).add(
        uses=Tells, cpus=[core], start_method=start_method, uses_with={"folder": str(tmp_path)}
    ) as flow:
        [response] = flow.post("/", return_responses=True)
    [told] = response.results.values()
    assert len(told["cores"]) > 2  # those of ZeroMQ among them
    assert told["cores"] == [[core]] * len(told["cores"])
    assert told["threads"] in (1, None)
    assert notes(tmp_path)["executor0-rep-0"]["OMP_NUM_THREADS"] == "1"
    assert os.sched_getaffinity(0) - {core} or core == 0  # nobody else is
