"""Ten times as much as it can take: what waits is bounded, the rest hears so at once, and nobody's memory grows."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil
import pytest

from zflow import Client, Document, Executor, Flow, requests
from zflow.errors import ResourceExhausted

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
