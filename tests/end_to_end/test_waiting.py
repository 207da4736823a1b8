"""Who waits for whom: floating Executors, joins that go on with what they have, Executors that are skipped."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import DeadlineExceeded, ExecutorError


class Mark(Executor):
    """Writes its node's name; with a gate, only once that file is there; with a log, there as well."""

    def __init__(self, gate: str = "", log: str = "", **kwargs):
        super().__init__(**kwargs)
        self.gate = gate
        self.log = log

    @requests
    def mark(self, docs, **kwargs):
        name = self.runtime_args.name.partition("/")[0]
        deadline = time.monotonic() + 20.0
        while self.gate and not Path(self.gate).exists():
            assert time.monotonic() < deadline, "nobody opened the gate"
            time.sleep(0.005)
        for doc in docs:
            doc.text += name
        if self.log:
            with open(self.log, "a") as log:
                log.write(f"{name}:{','.join(docs.texts)}\n")


class Join(Executor):
    @requests
    def join(self, docs_map, docs_matrix, **kwargs):
        return {"map": {name: docs.texts for name, docs in docs_map.items()}, "matrix": [d.texts for d in docs_matrix]}


class Fail(Executor):
    @requests
    def fail(self, **kwargs):
        raise RuntimeError("this branch is broken")


class Files:
    """A gate to be opened and a log to be read."""

    def __init__(self, folder: Path) -> None:
        self.gate = folder / "gate"
        self.log = folder / "log"
        self.both = {"gate": str(self.gate), "log": str(self.log)}

    def open(self) -> None:
        self.gate.touch()

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def joined(response) -> list[str]:
    result = response.results["join/rep-0"]
    assert result["matrix"] == list(result["map"].values())
    return list(result["map"])


# -- floating ----------------------------------------------------------------------------------------------------------


def test_a_reply_comes_while_a_floating_executor_is_at_work_and_closing_lets_it_finish(files: Files) -> None:
    flow = (
        Flow(quiet=True)
        .add(uses=Mark, name="a")
        .add(uses=Mark, name="audit", floating=True, uses_with=files.both)
        .add(uses=Mark, name="b")
    )
    with flow, Client(port=flow.port) as client:
        assert flow.post("/", Document(text="1")).texts == ["1ab"]
        assert client.post("/", Document(text="2")).texts == ["2ab"]
        assert files.lines == []
        files.open()
    assert sorted(files.lines) == ["audit:1aaudit", "audit:2aaudit"]


def test_what_follows_a_floating_executor_goes_on_although_nobody_posts_any_more(files: Files) -> None:
    flow = (
        Flow(quiet=True)
        .add(uses=Mark, name="a")
        .add(uses=Mark, name="one", floating=True, uses_with={"gate": str(files.gate)})
        .add(uses=Mark, name="two", needs="one", floating=True, uses_with={"log": str(files.log)})
    )
    with flow:
        assert flow.post("/", Document(text="-")).texts == ["-a"]
        files.open()
        wait_for(lambda: files.lines == ["two:-aonetwo"], "the second floating Executor")


def test_a_failure_of_a_floating_executor_is_logged_and_fails_nothing(
    files: Files, capfd: pytest.CaptureFixture[str]
) -> None:
    flow = Flow(quiet_error=True).add(uses=Mark, name="a").add(uses=Fail, name="audit", floating=True)
    with flow:
        for _ in range(3):
            assert flow.post("/", Document(text="-")).texts == ["-a"]
    assert capfd.readouterr().err.count("audit, which is floating, failed") == 3


def test_an_asynchronous_flow_does_not_wait_either(files: Files) -> None:
    async def ask() -> DocumentArray:
        flow = Flow(quiet=True, asyncio=True).add(uses=Mark, name="a")
        async with flow.add(uses=Mark, name="audit", floating=True, uses_with=files.both) as opened:
            docs = await opened.post("/", Document(text="-"))
            files.open()
            return docs

    assert asyncio.run(ask()).texts == ["-a"]
    assert files.lines == ["audit:-aaudit"]


# -- quorum and within -------------------------------------------------------------------------------------------------


def three(files: Files, **waits: int) -> Flow:
    """Two branches that answer, one that waits for the gate, and a join of the three."""
    return (
        Flow(quiet=True, quiet_error=True)
        .add(uses=Mark, name="a", needs="gateway")
        .add(uses=Mark, name="slow", needs="gateway", uses_with=files.both)
        .add(uses=Mark, name="b", needs="gateway")
        .needs(["slow", "b", "a"], uses=Join, name="join", **waits)
    )


def test_a_join_with_a_quorum_goes_on_without_the_slowest(files: Files) -> None:
    with three(files, quorum=2) as flow, Client(port=flow.port) as client:
        for asker in (flow, client):
            [response] = asker.post("/", Document(text="-"), return_responses=True)
            assert joined(response) == ["b", "a"]
            assert response.docs.texts == ["-b"]
        assert files.lines == []
        files.open()


def test_a_join_with_a_time_goes_on_with_whom_it_has_then(files: Files) -> None:
    with three(files, within=300) as flow:
        [response] = flow.post("/", Document(text="-"), return_responses=True)
        assert set(joined(response)) <= {"a", "b"} and joined(response)
        files.open()
        wait_for(lambda: files.lines != [], "the slow one")
        wait_for(lambda: joined(flow.post("/", Document(), return_responses=True)[0])[0] == "slow", "all of them")


def test_a_branch_that_fails_is_only_missing_and_named_where_too_few_are_left() -> None:
    def flow(**waits: int) -> Flow:
        return (
            Flow(quiet=True, quiet_error=True)
            .add(uses=Mark, name="good", needs="gateway")
            .add(uses=Fail, name="broken", needs="gateway")
            .needs(["broken", "good"], uses=Join, name="join", **waits)
        )

    with flow(quorum=1, within=20_000) as opened:
        assert joined(opened.post("/", Document(), return_responses=True)[0]) == ["good"]
    with flow(quorum=2) as opened, pytest.raises(ExecutorError, match="this branch is broken") as raised:
        opened.post("/", Document())
    assert raised.value.node == "broken"


def test_a_branch_whose_process_dies_is_only_missing() -> None:
    class Die(Executor):
        @requests
        def die(self, **kwargs):
            __import__("os")._exit(1)

    flow = (
        Flow(quiet=True)
        .add(uses=Mark, name="a", needs="gateway")
        .add(uses=Die, name="dying", needs="gateway")
        .needs(["dying", "a"], uses=Join, name="join", within=20_000)
    )
    with flow:
        assert joined(flow.post("/", Document(), return_responses=True)[0]) == ["a"]


# -- skipping ----------------------------------------------------------------------------------------------------------


def test_an_executor_that_takes_too_long_is_skipped_or_fails_the_request(files: Files) -> None:
    def flow(**options: str) -> Flow:
        return (
            Flow(quiet=True)
            .add(uses=Mark, name="a", needs="gateway")
            .add(uses=Mark, name="slow", needs="gateway", uses_with=files.both, timeout_send=300, **options)
            .needs(["slow", "a"], uses=Join, name="join")
        )

    with flow(on_timeout="skip") as skipping, flow() as failing:
        assert joined(skipping.post("/", Document(), return_responses=True)[0]) == ["a"]
        with pytest.raises(DeadlineExceeded) as raised:
            failing.post("/", Document())
        assert raised.value.node == "slow"
        files.open()
        wait_for(lambda: len(files.lines) == 2, "the slow ones")
        wait_for(lambda: joined(skipping.post("/", Document(), return_responses=True)[0]) == ["slow", "a"], "both")
