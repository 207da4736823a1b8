"""An Executor that cannot start again: row 9 of docs/reliability.md, and what whoever asks it hears."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_for
from zflow import Client, Document, Executor, Flow, requests
from zflow.errors import Unavailable


class Refusing(Executor):
    """Cannot be made any more once there is a certain file."""

    def __init__(self, unless: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if Path(unless).exists():
            raise RuntimeError("no such model")

    @requests
    def echo(self, **kwargs):
        pass


@pytest.mark.time_limit(60)
def test_row_9_one_that_cannot_start_again_is_given_up_and_says_so(tmp_path: Path) -> None:
    unless = tmp_path / "unless"
    with Flow(quiet=True, quiet_error=True).add(uses=Refusing, uses_with={"unless": str(unless)}, name="it") as flow:
        unless.touch()
        [pid] = [item.pid for item in flow.status() if item.name == "it/rep-0"]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: [item for item in flow.status() if item.state == "failed"], "it to be given up", 40.0)
        [given_up] = [item for item in flow.status() if item.state == "failed"]
        assert (given_up.name, given_up.restarts) == ("it/rep-0", 5)
        with pytest.raises(Unavailable, match="it has failed too often.* could not start: RuntimeError: no such model"):
            flow.post("/", Document(), timeout=10.0)
        with Client(port=flow.port) as client, pytest.raises(Unavailable, match="no such model"):
            client.post("/", Document(), timeout=10.0)
