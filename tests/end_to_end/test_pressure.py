"""Ten times as much as it can take: what waits is bounded, the rest hears so at once, and nobody's memory grows."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from tests.support.peers import Served
from tests.support.processes import wait_for
from zflow import Client, Document, DocumentArray, Executor, Flow, requests
from zflow.drivers import callers, sockets
from zflow.errors import ResourceExhausted
from zflow.wire.frames import DOCUMENTS, part
from zflow.wire.header import Kind, Message, decode, encode
from zflow.wire.payload import encode_documents

MEGA = 1 << 20


class Gated(Executor):
    """Answers only once its gate is open."""

    def __init__(self, gate: str, **kwargs):
        super().__init__(**kwargs)
        self.gate = Path(gate)

    @requests
    def wait(self, docs, **kwargs):
        deadline = time.monotonic() + 60.0
        while not self.gate.exists():
            assert time.monotonic() < deadline, "nobody opened the gate"
            time.sleep(0.005)
        for doc in docs:
            doc.blob = b""


class Large(Executor):
    """Answers with more than it is asked with."""

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    @requests
    def answer(self, docs, **kwargs):
        for doc in docs:
            doc.blob = bytes(self.size)


class Saving(Executor):
    """Keeps what it is sent in a file."""

    @requests
    def save(self, docs, **kwargs):
        with self.saving("state.bin") as file:
            file.write(docs[0].blob)


def gateway_of(port: int) -> psutil.Process:
    """The process that listens at the port."""
    listening = [item for item in psutil.net_connections("tcp") if item.status == psutil.CONN_LISTEN]
    [pid] = {item.pid for item in listening if item.laddr.port == port}
    return psutil.Process(pid)


def callers_of(gateway: psutil.Process, port: int) -> list[int]:
    """The ports of those who are connected to it."""
    connected = [item for item in psutil.net_connections("tcp") if item.pid == gateway.pid and item.raddr]
    return [item.raddr.port for item in connected if item.laddr.port == port]


def test_ten_times_what_may_wait_is_refused_at_once_and_takes_no_memory(tmp_path: Path) -> None:
    gate, limit, size, count = tmp_path / "gate", 16 * MEGA, MEGA, 400
    flow = Flow().add(uses=Gated, uses_with={"gate": str(gate)}, queue_bytes=limit)
    with flow:
        gateway = gateway_of(flow.port)
        before = gateway.memory_info().rss
        answers: list[object] = []
        peak = 0

        def refused(response, error):
            nonlocal peak
            answers.append(error)
            peak = max(peak, gateway.memory_info().rss)
            if len(answers) == count - 60:  # these have been refused, though nothing has been answered yet
                gate.touch()

        def done(response):
            nonlocal peak
            answers.append(None)
            peak = max(peak, gateway.memory_info().rss)

        client = Client(port=flow.port)
        client.post(
            "/",
            (Document(blob=bytes(size)) for _ in range(count)),
            request_size=1,
            prefetch=256,
            on_done=done,
            on_error=refused,
            continue_on_error=True,
        )
        errors = [error for error in answers if error is not None]
        assert len(answers) == count, "each has one outcome"
        assert all(isinstance(error, ResourceExhausted) for error in errors)
        assert len(errors) >= count - 60, "they heard it while the others waited"
        assert errors[0].retry_after > 0 and not errors[0].maybe_executed  # type: ignore[attr-defined]
        assert "bytes wait" in str(errors[0]) and "ask again in" in str(errors[0])
        assert count - len(errors) >= limit // size, "what may wait is served"
        assert peak - before < limit + 64 * MEGA, f"{(peak - before) // MEGA} MiB more, of {count * size // MEGA} MiB"
        assert client.post("/", Document(blob=b"x"))[0].blob == b"", "and it goes on"


def flood(context: zmq.Context[Any], port: int, count: int) -> zmq.Socket[Any]:
    """A caller that asks so often, and reads no answer."""
    reader = context.socket(zmq.DEALER)
    for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, 1), (zmq.SNDHWM, 0), (zmq.RECONNECT_IVL, -1)):
        reader.setsockopt(option, value)
    reader.connect(f"tcp://127.0.0.1:{port}")
    hello = Message(Kind.HELLO, extra={"conn": os.urandom(16)})
    sockets.send(reader, (), encode(hello), True)
    hello.extra["nonce"] = decode(reader.recv_multipart()[1:]).extra["nonce"]
    sockets.send(reader, (), encode(hello), True)
    assert decode(reader.recv_multipart()[1:]).kind is Kind.READY
    payload = [part(DOCUMENTS, "", encode_documents(DocumentArray([Document()])))]
    for _ in range(count):
        sockets.send(reader, (), encode(Message(Kind.REQUEST, os.urandom(16), "/", parts=payload)), True)
    return reader


@pytest.mark.parametrize(
    ("count", "size"),
    [
        pytest.param(1600, MEGA // 4, id="too many"),  # for a queue of ZeroMQ, which counts messages
        pytest.param(400, 4 * MEGA, id="too large", marks=[pytest.mark.full, pytest.mark.time_limit(120)]),
    ],
)
def test_who_does_not_read_its_answers_is_cut_off_and_the_next_one_costs_no_more(count: int, size: int) -> None:
    with Flow(quiet=True).add(uses=Large, uses_with={"size": size}) as flow, zmq.Context() as context:
        gateway = gateway_of(flow.port)
        resident = []
        for _ in range(5):  # what one costs the first two tell: the allocator gives back what it likes
            with flood(context, flow.port, count):
                wait_for(lambda: not callers_of(gateway, flow.port), "it to be cut off")
                resident.append(gateway.memory_info().rss)
        assert resident[4] - max(resident[:2]) < count * size // 2, "what was left unread has been kept"
        with Client(port=flow.port) as client:
            assert len(client.post("/", Document())[0].blob) == size, "others are served"


def test_a_few_large_answers_that_are_not_read_are_enough_to_be_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, in this process, for which the bound can be made smaller: the present one takes a GiB to be reached."""
    monkeypatch.setattr(callers, "UNREAD", 32 * MEGA)
    size, count, answered = 4 * MEGA, 100, 0

    def answer(request: Message) -> Message:
        nonlocal answered
        answered += 1
        payload = [part(DOCUMENTS, "", encode_documents(DocumentArray([Document(blob=bytes(size))])))]
        return Message(Kind.REPLY, request.call_id, parts=payload)

    with Served(answer, credit=count) as served, zmq.Context() as context:
        before = psutil.Process().memory_info().rss
        with flood(context, served.port, count):
            wait_for(lambda: not callers_of(psutil.Process(), served.port), "it to be cut off")
            grown = psutil.Process().memory_info().rss - before
        assert 32 * MEGA // size < answered < count // 2
        assert grown < 100 * MEGA
        with Client(port=served.port) as client:
            assert len(client.post("/", Document())[0].blob) == size, "others are served"


def test_a_full_disk_fails_a_request_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is not allowed here: {error}")
    try:
        with Flow(workspace=str(disk)).add(uses=Saving, name="keeper") as flow:
            flow.post("/", Document(blob=b"first"))
            [told] = flow.post(
                "/", Document(blob=bytes(MEGA)), return_responses=True, continue_on_error=True, on_error=None
            )
            assert told.error is not None and told.error.name == "WorkspaceError"
            assert "No space left on device" in str(told.error) and "state.bin" in str(told.error)
            [state] = disk.rglob("*.bin")
            assert state.read_bytes() == b"first"
            flow.post("/", Document(blob=b"second"))
            assert state.read_bytes() == b"second"
            assert [path for path in disk.rglob("*") if path.is_file()] == [state]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
