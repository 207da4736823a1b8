"""The worker in a container: it introduces itself, serves what it is told to, and ends when nobody attends to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zflow.config.log_config import LogConfig
from zflow.errors import StartError
from zflow.processes.attended import serve_attended
from zflow.processes.channel import Channel, Words
from zflow.wire.header import VERSION

EXECUTOR = """
from zflow import Executor, requests
class Inside(Executor):
    def __init__(self, word, **kwargs):
        super().__init__(**kwargs)
    @requests
    def tell(self, docs, **kwargs):
        docs[0].text = self.runtime_args.name
"""
TOLD: Words = {
    "name": "inside/rep-0",
    "node": "inside",
    "socket": "s",
    "arguments": {"uses_with": {"word": "x"}, "uses_metas": {}, "uses_requests": {}, "uses_dynamic_batching": {}},
    "runtime_args": {"name": "inside/rep-0", "replicas": 1, "shards": 1, "shard_id": 0, "workspace": ""},
    "idempotent": False,
    "max_concurrency": 4,
    "level": "INFO",
    "voice": [False, False, {**LogConfig()._asdict(), "of_a_later_version": 1}],
    "oom_score_adj": 500,
}


class Attending:
    """The other end."""

    def __init__(self, folder: Path, code: Path) -> None:
        (code / "inside.py").write_text(EXECUTOR)
        (code / "config.yml").write_text("jtype: Inside\nmetas: {py_modules: [inside.py]}\n")
        self.folder = folder
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/attendant")
            listener.listen(1)
            listener.settimeout(20)
            words = ["executor", "--uses", str(code / "config.yml"), "--attended", f"{folder}/attendant"]
            self.process = subprocess.Popen([sys.executable, "-m", "zflow", *words])
            self.channel = Channel(listener.accept()[0])

    def hear(self) -> Words:
        assert self.channel.wait(20)
        [words] = self.channel.receive(1)
        return words


@pytest.fixture
def attending(ipc_directory: Path, tmp_path: Path) -> Iterator[Attending]:
    made = Attending(ipc_directory, tmp_path)
    yield made
    made.channel.close()
    assert made.process.wait(20) is not None


def test_it_says_who_it_is_then_serves_where_it_was_told_and_drains(attending: Attending) -> None:
    said = attending.hear()
    assert said["protocol"] == VERSION
    assert said["software"].startswith("zflow ")
    attending.channel.send(TOLD)
    assert attending.hear()["ready"] == f"ipc://{attending.folder}/s"
    assert os.stat(f"{attending.folder}/s").st_mode & 0o777 == 0o666  # the callers may be somebody else
    attending.channel.send({"stop": 5.0})
    assert attending.process.wait(20) == 0


def test_what_keeps_it_from_serving_is_said(attending: Attending) -> None:
    attending.hear()
    attending.channel.send({**TOLD, "arguments": {**TOLD["arguments"], "uses_with": {}}})
    said = attending.hear()
    assert said["failed"] == "ConfigError"
    assert "missing a required argument: 'word'" in said["message"]
    assert attending.process.wait(20) != 0


def test_it_ends_when_nobody_attends_to_it_any_more(attending: Attending) -> None:
    attending.hear()
    attending.channel.send(TOLD)
    attending.hear()
    attending.channel.close()
    assert attending.process.wait(5) is not None


def test_without_an_attendant_it_does_not_begin(ipc_directory: Path) -> None:
    with pytest.raises(StartError, match="nobody attends to this process at .*/nowhere"):
        serve_attended(f"{ipc_directory}/nowhere", None)
