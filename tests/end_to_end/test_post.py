"""What `post` promises (inputs, order, callbacks, errors, deadlines), on real processes, inline and by the gateway."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.processes import wait_for
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import ConfigError, DeadlineExceeded, ExecutorError


class Versatile(Executor):
    """Echoes, fails, sleeps, counts."""

    @requests
    def echo(self, docs, **kwargs):
        pass

    @requests(on="/count")
    def count(self, docs, parameters, **kwargs):
        return {"docs": len(docs), "parameters": parameters}

    @requests(on="/fail_on_bad")
    def fail_on_bad(self, docs, **kwargs):
        if any(doc.text == "bad" for doc in docs):
            raise ValueError("a bad one")

    @requests(on="/sleep")
    def sleep(self, docs, **kwargs):
        for doc in docs:
            if "begun" in doc.tags:
                Path(doc.tags["begun"]).touch()
            time.sleep(doc.tags.get("seconds", 0))

    @requests(on="/kinds")
    def kinds(self, docs, **kwargs):
        for doc in docs:
            doc.tags["kind"] = doc.content_type


@pytest.fixture(scope="module")
def flow() -> Iterator[Flow]:
    with Flow(quiet=True, quiet_error=True).add(uses=Versatile, name="versatile") as flow:
        yield flow


@pytest.fixture(scope="module")
def client(flow: Flow) -> Iterator[Client]:
    with Client(port=flow.port) as client:
        yield client


@pytest.fixture(params=["inline", "through the gateway"])
def asker(request: pytest.FixtureRequest, flow: Flow, client: Client) -> Flow | Client:
    return flow if request.param == "inline" else client


def counted(responses: list) -> list[int]:
    return [response.results["versatile/rep-0"]["docs"] for response in responses]


def test_endpoint_defaults_and_unknown_ones_go_to_the_default_method(asker) -> None:
    assert asker.post(inputs=Document(text="a")).texts == ["a"]
    assert asker.post("/nobody-names-this", inputs=Document(text="b")).texts == ["b"]


@pytest.mark.parametrize(
    ("make", "size", "expected"),
    [
        (lambda: None, 100, [0]),
        (lambda: [], 100, [0]),
        (lambda: Document(), 100, [1]),
        (lambda: [Document() for _ in range(5)], 2, [2, 2, 1]),
        (lambda: DocumentArray.empty(5), 0, [5]),
        (lambda: (Document() for _ in range(3)), -1, [3]),
        (lambda: lambda: [Document(), Document()], 1, [1, 1]),
    ],
    ids=["None", "empty", "one", "list", "all in one", "generator", "function"],
)
def test_inputs_are_cut_into_requests(asker, make, size, expected) -> None:
    responses = asker.post("/count", make(), request_size=size, return_responses=True, results_in_order=True)
    assert counted(responses) == expected


def test_whatever_makes_a_document_may_be_posted(asker) -> None:
    inputs = [{"text": "from a dict"}, "text", b"blob", np.arange(3), Document(text="itself")]
    docs = asker.post("/kinds", inputs)
    assert [doc.tags["kind"] for doc in docs] == ["text", "text", "blob", "tensor", "text"]


def test_parameters_keep_their_types_and_reach_whom_they_are_meant_for(asker) -> None:
    parameters = {"top_k": 10, "versatile__mode": "fast", "versatile": {"depth": 2}, "share": 0.5, "on": True}
    response = asker.post("/count", parameters=parameters, return_responses=True)[0]
    seen = response.results["versatile/rep-0"]["parameters"]
    assert seen == {"top_k": 10, "mode": "fast", "depth": 2, "share": 0.5, "on": True}
    assert type(seen["top_k"]) is int


def test_results_in_order(asker) -> None:
    docs = [Document(text=str(number), tags={"seconds": 0.02 if number == 0 else 0}) for number in range(20)]
    texts = asker.post("/sleep", docs, request_size=1, results_in_order=True).texts
    assert texts == [str(number) for number in range(20)]


def test_an_error_raises_with_the_remote_traceback(asker) -> None:
    with pytest.raises(ExecutorError) as raised:
        asker.post("/fail_on_bad", Document(text="bad"))
    assert raised.value.node == "versatile"
    assert raised.value.description == "ValueError('a bad one')"
    assert 'raise ValueError("a bad one")' in str(raised.value)


def test_continue_on_error_lets_the_others_go_on(asker) -> None:
    docs = [Document(text=text) for text in ("good", "bad", "better")]
    result = asker.post("/fail_on_bad", docs, request_size=1, continue_on_error=True, results_in_order=True)
    assert result.texts == ["good", "better"]


def test_callbacks_get_as_many_arguments_as_they_accept(asker) -> None:
    heard: list = []
    docs = [Document(text=text) for text in ("good", "bad")]
    returned = asker.post(
        "/fail_on_bad",
        docs,
        request_size=1,
        results_in_order=True,
        on_done=lambda response: heard.append(("done", response.docs.texts)),
        on_error=lambda response, exception: heard.append(("error", response.status.description, exception.name)),
        on_always=lambda: heard.append("always"),
    )
    assert returned is None
    assert heard == [("done", ["good"]), "always", ("error", "ValueError('a bad one')", "ValueError"), "always"]


def test_generators_are_read_only_as_far_as_requests_are_under_way(asker) -> None:
    read = 0
    furthest = []

    def documents() -> Iterator[Document]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield Document()

    answered = 0

    def note(response) -> None:
        nonlocal answered
        answered += 1
        furthest.append(read - answered)

    asker.post("/", documents(), request_size=1, prefetch=4, on_done=note)
    assert read == 100
    assert max(furthest) <= 5


def test_a_deadline_ends_the_wait_and_the_flow_goes_on(asker) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        asker.post("/sleep", Document(tags={"seconds": 0.7}), timeout=0.2)
    assert time.monotonic() - began < 0.6  # DESIGN.md: within 100 ms, plus what a busy machine adds
    assert asker.post("/", Document(text="still here")).texts == ["still here"]


def test_work_whose_deadline_has_passed_is_not_begun(asker, flow, tmp_path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    slow = Document(tags={"seconds": 0.5, "begun": str(first)})
    thread = threading.Thread(target=lambda: flow.post("/sleep", slow))
    thread.start()
    wait_for(first.exists, "the first request to run")
    with pytest.raises(DeadlineExceeded):
        asker.post("/sleep", Document(tags={"begun": str(second)}), timeout=0.1)
    thread.join(10)
    assert flow.post("/", Document(text="free")).texts == ["free"]
    assert not second.exists()


def test_target_executor_leaves_others_out(asker) -> None:
    assert asker.post("/fail_on_bad", Document(text="bad"), target_executor="nobody").texts == ["bad"]
    with pytest.raises(ExecutorError):
        asker.post("/fail_on_bad", Document(text="bad"), target_executor="versa.*")


def test_an_unknown_option_is_refused_with_the_nearest(asker) -> None:
    with pytest.raises(ConfigError, match="request_size"):
        asker.post("/", request_sice=3)


def test_several_threads_share_a_flow_and_a_client(flow, client) -> None:
    texts: list[str] = []

    def ask(asker, name: str) -> None:
        for number in range(20):
            texts.extend(asker.post("/", Document(text=f"{name}{number}")).texts)

    threads = [threading.Thread(target=ask, args=(asker, name)) for name in "abc" for asker in (flow, client)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(texts) == sorted([f"{name}{number}" for name in "abc" for number in range(20)] * 2)


def test_asyncio_client(flow) -> None:
    async def ask() -> tuple[list[str], list[str], list[list[str]]]:
        async def documents():
            for number in range(4):
                yield Document(text=str(number))

        async with Client(port=flow.port, asyncio=True) as client:
            whole = await client.post("/", documents(), request_size=2, results_in_order=True)
            streamed = [text async for docs in client.post("/", ["x", "y"], request_size=1) for text in docs.texts]
            many = await asyncio.gather(*(client.post("/", Document(text=str(number))) for number in range(50)))
            return whole.texts, sorted(streamed), [docs.texts for docs in many]

    assert asyncio.run(ask()) == (["0", "1", "2", "3"], ["x", "y"], [[str(number)] for number in range(50)])


def test_asyncio_flow() -> None:
    async def ask() -> list[str]:
        with Flow(asyncio=True, quiet=True).add(uses=Versatile) as flow:
            first = await flow.post("/", Document(text="awaited"))
            return first.texts + [text async for docs in flow.post("/", ["streamed"]) for text in docs.texts]

    assert asyncio.run(ask()) == ["awaited", "streamed"]
