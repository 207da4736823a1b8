"""The second reference document, as far as serving goes: `Executor.serve`, and classes named by YAML alone."""

from __future__ import annotations

import re
import threading

import pytest

from tests.support.processes import read_until, wait_for
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import Unavailable
from zflow.probing import ping

SERVE = """
import sys
from zflow import DocumentArray, Document
from zflow import Executor, requests


class MyExec(Executor):
    @requests
    def foo(self, docs: DocumentArray, **kwargs):
        docs[0] = 'executed MyExec'  # custom logic goes here


MyExec.serve(port=int(sys.argv[1]))
"""


def test_a_served_executor_answers_a_client_and_another_flow(tmp_path, start, port) -> None:
    import sys

    (tmp_path / "serve.py").write_text(SERVE)
    served = start(sys.executable, str(tmp_path / "serve.py"), str(port))
    read_until(served, "ready to use")
    assert Client(port=port).post(inputs=DocumentArray.empty(1), on="/foo").texts == ["executed MyExec"]
    with Flow().add(host="localhost", port_in=port, external=True) as flow:  # the external target is a gateway
        assert flow.post("/foo", inputs=DocumentArray.empty(1)).texts == ["executed MyExec"]


class Configured(Executor):
    def __init__(self, word: str = "none", **kwargs):
        super().__init__(**kwargs)
        self.word = word

    @requests(on="/word")
    def tell(self, docs, **kwargs):
        docs.texts = [f"{self.word} {self.metas.name}" for _ in docs]

    @requests(on="/other")
    def other(self, docs, **kwargs):
        docs.texts = ["other" for _ in docs]


def test_serve_forwards_its_arguments_and_stops_at_an_event(port) -> None:
    stop = threading.Event()
    options = {"uses_with": {"word": "given"}, "uses_metas": {"name": "named"}, "uses_requests": {"/said": "tell"}}
    thread = threading.Thread(target=lambda: Configured.serve(stop_event=stop, port=port, **options))
    thread.start()
    try:
        wait_for(lambda: is_serving(port), "the served Executor")
        with Client(port=port) as client:
            assert client.post("/said", inputs=Document()).texts == ["given named"]
            assert client.post("/word", inputs=Document(text="as it was")).texts == ["as it was"]  # it has moved
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert not is_serving(port)


def is_serving(port: int) -> bool:
    try:
        return bool(ping(f"tcp://127.0.0.1:{port}", timeout=0.5))
    except Unavailable:
        return False


def test_jtype_alone_names_a_class_of_the_running_script(run_script, tmp_path) -> None:
    (tmp_path / "executor.yml").write_text("jtype: MyExecutorBeforeRestart\n")
    done = run_script(
        """
        from zflow import Flow, Executor, requests, DocumentArray

        class MyExecutorBeforeRestart(Executor):
           @requests
           def foo(self, docs, **kwargs):
               for doc in docs:
                  doc.text = 'MyExecutorBeforeRestart'

        f = Flow().add(uses='executor.yml')

        with f:
            print(f.post(on='/', inputs=DocumentArray.empty(1))[0].text)
        """
    )
    assert done.stdout == "MyExecutorBeforeRestart\n"


NAMED = """
from zflow import Executor, requests


class Named(Executor):
    @requests
    def greet(self, docs, **kwargs):
        docs.texts = ["Hey you" for _ in docs]
"""


@pytest.mark.parametrize(
    "words",
    [
        ("executor", "--uses", "exec.py:Named"),
        ("executor", "--uses", "{folder}/exec.py:Named", "--replicas", "2"),
        ("deployment", "--uses", "{folder}/exec.py:Named"),
        ("flow", "--uses", "flow.yml"),
    ],
)
def test_a_class_is_named_by_its_file(start, zflow_command, tmp_path, words) -> None:
    (tmp_path / "exec.py").write_text(NAMED)
    (tmp_path / "flow.yml").write_text("jtype: Flow\nexecutors: [{uses: exec.py:Named}]\n")
    serving = start(*zflow_command, *(word.format(folder=tmp_path) for word in words), cwd=tmp_path)
    told = read_until(serving, r"(serving at tcp|Local access:)\D+127.0.0.1:\d+")
    port = int(re.search(r"127.0.0.1:(\d+)", told)[1])
    with Client(port=port) as client:
        assert client.post("/", Document()).texts == ["Hey you"]
