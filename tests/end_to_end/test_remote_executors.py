"""The first reference document, nearly verbatim: external Executors, started alone and tapped by Flows."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.support.processes import is_alive, read_until
from zflow import Client, Document, DocumentArray, Executor, ExecutorError, Flow, requests
from zflow.probing import describe

EXEC_PY = """
from zflow import Executor, requests, Document, DocumentArray

class MyExecutor(Executor):
    @requests
    def foo(self, docs, **kwargs):
        docs.texts = ['Hey you, have a wonderful day!' for _ in docs]

    @requests(on='/embed')
    def embed(self, docs, **kwargs):
        import numpy as np
        docs.embeddings = np.arange(len(docs) * 8, dtype='float32').reshape(len(docs), 8)

    @requests(on='/fail')
    def fail(self, **kwargs):
        raise NotImplementedError('no time for it')

    def close(self):
        print('closing...', flush=True)
"""

MY_EXEC_YML = """
!MyExecutor
metas:
  py_modules:
    - exec.py
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The reader's own folder: ``exec.py`` and ``my-exec.yml``."""
    (tmp_path / "exec.py").write_text(EXEC_PY)
    (tmp_path / "my-exec.yml").write_text(MY_EXEC_YML)
    return tmp_path


@pytest.fixture
def standalone(folder: Path, start, zflow_command, port):
    """``zflow executor --uses my-exec.yml --port-in PORT``, run from another folder than the YAML's."""
    process = start(*zflow_command, "executor", "--uses", str(folder / "my-exec.yml"), "--port-in", str(port), cwd="/")
    read_until(process, f"127.0.0.1:{port}")
    return process


def test_custom_executor_from_the_command_line_is_tapped_by_a_flow(standalone, port) -> None:
    docs = DocumentArray([Document() for _ in range(5)])
    f = Flow().add(host="localhost", port_in=port, external=True)
    with f:
        docs = f.index(inputs=docs, return_results=True)
    assert docs[0].text == "Hey you, have a wonderful day!"
    assert docs.texts == ["Hey you, have a wonderful day!"] * 5
    assert is_alive(standalone.pid)  # entering and leaving the Flow neither starts nor stops it


def test_embeddings_come_back(standalone, port) -> None:
    docs = DocumentArray([Document(text="Embed me please!") for _ in range(5)])
    with Flow().add(host="localhost", port_in=port, external=True) as f:
        docs = f.post("/embed", inputs=docs, return_results=True)
    assert docs[0].text == "Embed me please!"
    assert docs[0].embedding[:5].tolist() == [0, 1, 2, 3, 4]
    assert len(docs) == 5


def test_host_and_port_in_suffice_for_a_running_executor(standalone, port) -> None:
    with Flow().add(host="localhost", port_in=port, external=True, name="here") as f:
        with pytest.raises(ExecutorError) as raised:
            f.post("/fail", inputs=Document())
    assert raised.value.node == "here"
    assert raised.value.name == "NotImplementedError"
    assert "no time for it" in str(raised.value)
    assert "exec.py" in raised.value.traceback


def test_one_external_executor_serves_several_flows_at_once(standalone, port) -> None:
    flows = [Flow().add(host="localhost", port_in=port, external=True) for _ in range(3)]
    texts: list[list[str]] = []

    def use(flow: Flow) -> None:
        with flow:
            for _ in range(5):
                texts.append(flow.index(inputs=DocumentArray.empty(2)).texts)

    threads = [threading.Thread(target=use, args=(flow,)) for flow in flows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert texts == [["Hey you, have a wonderful day!"] * 2] * 15


def test_an_external_executor_after_and_beside_local_ones(standalone, port) -> None:
    class Mark(Executor):
        @requests
        def mark(self, docs, **kwargs):
            for doc in docs:
                doc.tags["seen"] = doc.text

    with Flow().add(host="localhost", port_in=port, external=True).add(uses=Mark) as f:
        docs = f.post("/", inputs=Document(text="x"))
    assert docs[0].tags == {"seen": "Hey you, have a wonderful day!"}


def test_a_client_calls_it_directly(standalone, port) -> None:
    with Client(port=port) as client:
        assert client.post("/", inputs=DocumentArray.empty(1)).texts == ["Hey you, have a wonderful day!"]


def test_sigterm_drains_calls_close_and_exits_0(standalone, port) -> None:
    standalone.send_signal(signal.SIGTERM)
    told = standalone.communicate(timeout=10)[0]
    assert standalone.returncode == 0
    assert told.count("closing...") == 1


def test_another_address_than_loopback_is_refused_and_both_ways_are_named(folder, start, zflow_command, port) -> None:
    process = start(
        *zflow_command, "executor", "--uses", str(folder / "my-exec.yml"), "--port-in", str(port), "--host", "0.0.0.0"
    )
    told = process.communicate(timeout=20)[0]
    assert process.returncode != 0
    assert "--insecure" in told and "127.0.0.1" in told


def test_insecure_is_spoken_and_warned_of(folder, start, zflow_command, port) -> None:
    command = ("executor", "--uses", str(folder / "my-exec.yml"), "--port-in", str(port), "--host", "0.0.0.0")
    process = start(*zflow_command, *command, "--insecure")
    told = read_until(process, f"0.0.0.0:{port}")
    with Client(port=port) as client:
        assert len(client.post("/", inputs=DocumentArray.empty(2))) == 2
    assert "[W]" in told and "insecure" in told


def test_every_option_of_the_command_line_reaches_the_executor(folder, start, zflow_command, port) -> None:
    (folder / "telling.py").write_text(
        "import os\n"
        "from zflow import Executor, requests\n"
        "class Telling(Executor):\n"
        "    def __init__(self, word='', **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self.word = word\n"
        "    def tell(self, **kwargs):\n"
        "        return {'word': self.word, 'env': os.environ['OF_THE_TEST'], 'metas': self.metas.name,\n"
        "                'workspace': self.workspace, 'name': self.runtime_args.name}\n"
    )
    words = (
        *("--uses", "Telling", "--py-modules", str(folder / "telling.py"), "--uses-with", "word=given"),
        *("--uses-metas", "name=Named", "--uses-requests", "/tell=tell", "--workspace", str(folder / "work")),
        *("--env", "OF_THE_TEST=set", "--name", "teller", "--port-in", str(port), "--idempotent", "--quiet-error"),
    )
    process = start(*zflow_command, "executor", *words)
    read_until(process, f"127.0.0.1:{port}")
    with Client(port=port) as client:
        [response] = client.post("/tell", return_responses=True)
    assert response.results == {
        "teller/rep-0": {
            "word": "given",
            "env": "set",
            "metas": "Named",
            "workspace": str(folder / "work" / "Named" / "0"),
            "name": "teller/rep-0",
        }
    }
    described = describe(f"tcp://127.0.0.1:{port}")
    assert {"name": "/tell", "idempotent": True} in described["endpoints"]


def test_a_gateway_alone_joins_executors_that_run_elsewhere(standalone, port, folder, start, zflow_command) -> None:
    (folder / "flow.yml").write_text(
        f"jtype: Flow\nexecutors:\n  - {{name: there, host: localhost, port_in: {port}, external: true}}\n"
    )
    gateway = start(*zflow_command, "gateway", "--uses", str(folder / "flow.yml"))
    told = read_until(gateway, "serving at")
    with Client(told.strip().rpartition("tcp://")[2]) as client:
        assert client.post("/", inputs=DocumentArray.empty(1)).texts == ["Hey you, have a wonderful day!"]
    gateway.terminate()
    gateway.communicate(timeout=10)
    assert gateway.returncode == 0
