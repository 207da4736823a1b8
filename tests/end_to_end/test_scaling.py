"""Replicas come and go, and are renewed, while requests are on their way: none of them fails."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import is_alive, read_until, wait_for
from zflow import Client, Deployment, Document, Executor, Flow, requests
from zflow.errors import ConfigError, StartError


class Worker(Executor):
    def __init__(self, mark: str = "old", notes: str = "", fails: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if fails:
            raise RuntimeError("no such model")
        self.mark, self.notes = mark, notes

    @requests
    def work(self, docs, **kwargs):
        docs.texts = [self.mark] * len(docs)

    @requests(on="/wait")
    def wait(self, docs, **kwargs):
        Path(docs[0].tags["begun"]).touch()
        wait_for(lambda: Path(docs[0].tags["go on"]).exists(), "the word to go on")

    @requests(on="/items")
    def items(self, **kwargs):
        for number in range(200):
            yield Document(text=str(number))

    def close(self) -> None:
        if self.notes:
            with open(self.notes, "a") as notes:
                notes.write("closed\n")


class Load:
    """Requests without a pause, from this process and by the gateway, until the end of the block."""

    def __init__(self, *askers: Any) -> None:
        self.answers: list[str] = []
        self.errors: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(asker,)) for asker in askers]

    def _ask(self, asker: Any) -> None:
        while not self._is_over.is_set():
            try:
                self.answers += asker.post("/", Document()).texts
            except BaseException as error:
                self.errors.append(error)

    def until(self, more: int) -> None:
        """Let so many more requests be answered."""
        wanted = len(self.answers) + more
        wait_for(lambda: len(self.answers) >= wanted or self.errors, f"{more} answers", timeout=200.0)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def names(served: Flow | Deployment) -> list[str]:
    return [process.name for process in served.status() if "/rep-" in process.name]


@contextmanager
def opened(**options: Any) -> Iterator[tuple[Flow, Client]]:
    with Flow(quiet=True).add(uses=Worker, name="worker", **options) as flow, Client(port=flow.port) as client:
        yield flow, client


@pytest.mark.parametrize("many", [100, pytest.param(2_500, marks=[pytest.mark.full, pytest.mark.time_limit(300)])])
def test_from_one_to_eight_and_back_and_anew_under_load_no_request_fails(many):
    with opened() as (flow, client), Load(flow, flow, client, client) as load:
        load.until(many)
        flow.scale("worker", replicas=8)
        assert names(flow) == [f"worker/rep-{number}" for number in range(8)]
        load.until(many)
        flow.rolling_update("worker", uses_with={"mark": "new"})
        assert flow.post("/", Document()).texts == client.post("/", Document()).texts == ["new"]
        load.until(many)
        flow.scale("worker", replicas=1)
        assert names(flow) == ["worker/rep-0"]
        load.until(many)
    assert load.errors == []
    assert set(load.answers) == {"old", "new"}


def test_each_shard_is_scaled_and_renewed():
    with opened(shards=2, polling="ALL") as (flow, client), Load(flow, client) as load:
        load.until(20)
        flow.scale("worker", replicas=2)
        assert names(flow) == [f"worker/shard-{shard}/rep-{replica}" for shard in (0, 1) for replica in (0, 1)]
        flow.rolling_update("worker")
        load.until(20)
        flow.scale("worker", replicas=1)
        load.until(20)
    assert load.errors == []


def test_a_deployment_changes_while_it_serves_and_is_tapped():
    with (
        Deployment(uses=Worker, name="worker", quiet=True) as deployment,
        Flow(quiet=True).add(host="127.0.0.1", port_in=deployment.port, external=True) as flow,
        Load(deployment, flow) as load,
    ):
        load.until(20)
        deployment.scale(replicas=3)
        deployment.rolling_update(uses_with={"mark": "new"})
        assert names(deployment) == [f"worker/rep-{number}" for number in range(3)]
        assert flow.post("/", Document()).texts == ["new"]
        deployment.scale(replicas=1)
        load.until(20)
    assert load.errors == []


def test_who_leaves_finishes_what_it_has_and_closes(tmp_path):
    notes, begun, go_on = tmp_path / "notes", tmp_path / "begun", tmp_path / "go on"
    answers: list[Any] = []
    with opened(uses_with={"notes": str(notes)}) as (flow, client):
        [before] = [process.pid for process in flow.status() if process.name == "worker/rep-0"]
        question = Document(text="kept", tags={"begun": str(begun), "go on": str(go_on)})
        asking = threading.Thread(target=lambda: answers.append(client.post("/wait", question)))
        asking.start()
        wait_for(begun.exists, "the request to begin")
        updating = threading.Thread(target=flow.rolling_update, args=("worker",))
        updating.start()
        wait_for(lambda: flow.post("/", Document(), return_responses=True), "the new one to answer")
        assert is_alive(before) and not notes.exists()
        go_on.touch()
        asking.join()
        updating.join()
        assert [answer.texts for answer in answers] == [["kept"]]
        assert notes.read_text() == "closed\n"
        wait_for(lambda: not is_alive(before), "the old one to end")


def test_a_stream_from_one_that_leaves_is_read_to_its_end():
    with opened() as (flow, client):
        stream = client.stream("/items", prefetch=2)
        got = [next(stream).text]
        updating = threading.Thread(target=flow.rolling_update, args=("worker",))
        updating.start()
        wait_for(lambda: len(flow.status()) == 3, "the new one to come")
        got += [document.text for document in stream]
        updating.join()
    assert got == [str(number) for number in range(200)]


def test_one_that_cannot_start_is_told_with_its_traceback_and_the_old_ones_serve_on():
    with opened(replicas=2) as (flow, client):
        before = flow.status()
        with pytest.raises(StartError, match="no such model") as raised:
            flow.rolling_update("worker", uses_with={"fails": True})
        assert 'raise RuntimeError("no such model")' in str(raised.value.traceback)
        assert flow.status() == before
        assert client.post("/", Document()).texts == ["old"]
        flow.rolling_update("worker", uses_with={"mark": "new"})  # and the failure is forgotten
        assert client.post("/", Document()).texts == ["new"]


def test_what_was_changed_is_what_is_started_again_and_saved(tmp_path):
    with opened() as (flow, client):
        flow.scale("worker", replicas=2)
        flow.rolling_update("worker", uses_with={"mark": "new"})
        for process in flow.status():
            if process.name.startswith("worker/") and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: [process.restarts for process in flow.status()] == [1, 1, 0], "both to be started again")
        wait_for(lambda: {process.state for process in flow.status()} == {"ready"}, "both to be ready")
        assert set(client.post("/", [Document() for _ in range(8)], request_size=1).texts) == {"new"}
        flow.save_config(tmp_path / "flow.yml")
    saved = (tmp_path / "flow.yml").read_text()
    assert "replicas: 2" in saved and "mark: new" in saved


def test_closing_ends_a_change_that_is_under_way(tmp_path):
    begun, go_on = tmp_path / "begun", tmp_path / "go on"
    failures: list[BaseException] = []

    def update(flow: Flow) -> None:
        try:
            flow.rolling_update("worker")
        except StartError as error:
            failures.append(error)

    flow = Flow(quiet=True).add(uses=Worker, name="worker").start()
    with Client(port=flow.port) as client:
        question = Document(tags={"begun": str(begun), "go on": str(go_on)})
        asking = threading.Thread(target=lambda: client.post("/wait", question))
        asking.start()
        wait_for(begun.exists, "the request to begin")
        updating = threading.Thread(target=update, args=(flow,))
        updating.start()
        wait_for(lambda: len(flow.status()) == 3, "the new one to come")
        closing = threading.Thread(target=flow.close)
        closing.start()
        updating.join()
        go_on.touch()
        closing.join()
        asking.join()
    assert "the Flow was closed" in str(failures[0])


REFUSED: dict[str, tuple[Callable[[Flow], Any], str]] = {
    "an unknown name": (lambda flow: flow.scale("wrker", replicas=2), "no Executor 'wrker'.*did you mean 'worker'"),
    "an external one": (lambda flow: flow.scale("other", replicas=2), "other is external: it is scaled and updated"),
    "no replicas": (lambda flow: flow.scale("worker", replicas=0), "replicas"),
    "too many": (lambda flow: flow.scale("worker", replicas=100_000), "replicas"),
    "arguments of none": (lambda flow: flow.rolling_update("other", uses_with={"a": 1}), "other is external"),
}


def test_what_cannot_be_changed_is_refused_and_nothing_happens():
    with Flow(quiet=True).add(uses=Worker, name="worker") as other:
        flow = Flow(quiet=True).add(uses=Worker, name="worker")
        flow = flow.add(host="127.0.0.1", port_in=other.port, external=True, name="other")
        with pytest.raises(ConfigError, match="not open"):
            flow.scale("worker", replicas=2)
        with flow:
            before = flow.status()
            for change, told in REFUSED.values():
                with pytest.raises(ConfigError, match=told):
                    change(flow)
            assert flow.status() == before


def test_an_executor_with_a_port_of_its_own_keeps_it_when_it_is_renewed(port):
    with opened(port_in=port) as (flow, _), Client(port=port) as client:
        assert client.post("/", Document()).texts == ["old"]
        flow.rolling_update("worker", uses_with={"mark": "new"})
        assert client.post("/", Document()).texts == ["new"]
        with pytest.raises(ConfigError, match="replicas cannot share one port"):
            flow.scale("worker", replicas=2)


def test_an_asynchronous_flow_goes_on_while_it_changes():
    async def main() -> list[str]:
        answers: list[str] = []
        async with Flow(asyncio=True, quiet=True).add(uses=Worker, name="worker") as flow:
            changes = asyncio.create_task(change(flow))
            while not changes.done():
                answers += (await flow.post("/", Document())).texts
            await changes
            answers += (await flow.post("/", Document())).texts
        return answers

    async def change(flow: Any) -> None:
        await flow.scale("worker", replicas=3)
        await flow.rolling_update("worker", uses_with={"mark": "new"})

    answers = asyncio.run(main())
    assert answers[0] == "old" and answers[-1] == "new"


# -- from the command line ---------------------------------------------------------------------------------------------


def run(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_a_flow_of_another_process_is_changed_from_the_command_line(tmp_path, start, zflow_command):
    (tmp_path / "own.py").write_text(
        "from zflow import Executor, requests\n"
        "class Own(Executor):\n"
        "    def __init__(self, mark='old', **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self.mark = mark\n"
        "    @requests\n"
        "    def tell(self, docs, **kwargs):\n"
        "        docs.texts = [f'{self.mark} of {self.runtime_args.replicas}'] * len(docs)\n"
    )
    (tmp_path / "own.yml").write_text("jtype: Own\nmetas:\n  py_modules: [own.py]\n")
    (tmp_path / "flow.yml").write_text("jtype: Flow\nexecutors:\n- name: own\n  uses: own.yml\n")
    flow = start(*zflow_command, "flow", "--uses", "flow.yml", cwd=tmp_path)
    port = re.search(r"127\.0\.0\.1:(\d+)", read_until(flow, r"127\.0\.0\.1:\d+"))[1]
    where = f"localhost:{port}"
    code, told = run(*zflow_command, "rolling-update", where, "own", "--uses-with", "mark=new")
    assert code == 0 and "own is renewed" in told
    code, told = run(*zflow_command, "scale", where, "own", "--replicas", "3")
    assert code == 0 and "own has 3 replicas now" in told
    code, told = run(*zflow_command, "scale", where, "won", "--replicas", "3")
    assert code == 2 and "did you mean 'own'?" in told
    with Client(port=int(port)) as client:
        answers = client.post("/", [Document() for _ in range(40)], request_size=1).texts
    assert {answer.partition(" ")[0] for answer in answers} == {"new"}


def test_a_deployment_is_changed_from_the_command_line_by_its_name(zflow_command):
    with Deployment(uses=Worker, quiet=True) as deployment:
        code, _ = run(*zflow_command, "scale", f"localhost:{deployment.port}", "Worker", "--replicas", "2")
        assert (code, names(deployment)) == (0, ["Worker/rep-0", "Worker/rep-1"])
        code, told = run(*zflow_command, "scale", f"localhost:{deployment.port}", "Wrker", "--replicas", "2")
        assert code == 2 and "did you mean 'Worker'?" in told
    code, told = run(*zflow_command, "scale", "localhost:1", "Worker", "--replicas", "2")
    assert code == 69 and "no Flow that this user has started" in told
