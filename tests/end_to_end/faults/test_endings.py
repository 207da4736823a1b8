"""Processes that end in a way of their own: rows 7, 9 and 22 of docs/reliability.md."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_for
from tests.support.rush import Diarist, Rush, runs
from zflow import Client, Document, Executor, Flow, requests
from zflow.errors import ExecutorError, PoisonRequest, RemoteError, Unavailable, ZflowError


class Dying(Executor):
    @requests(on="/exit")
    def exit(self, **kwargs):
        os._exit(3)

    @requests(on="/abort")
    def abort(self, **kwargs):
        os.abort()

    @requests(on="/fault")
    def fault(self, **kwargs):
        os.kill(os.getpid(), signal.SIGSEGV)

    @requests(on="/kill")
    def kill(self, **kwargs):
        os.kill(os.getpid(), signal.SIGKILL)

    @requests(on="/memory")
    def memory(self, **kwargs):
        raise MemoryError("no more of it")

    @requests(on="/leave")
    def leave(self, **kwargs):
        raise SystemExit(3)

    @requests
    def echo(self, **kwargs):
        pass


@pytest.fixture(scope="module")
def dying() -> Iterator[Flow]:
    with Flow(quiet=True, quiet_error=True).add(uses=Dying, name="it") as flow:
        yield flow


@pytest.mark.parametrize("endpoint", ["/exit", "/abort", "/fault", "/kill", "/memory", "/leave"])
def test_row_7_however_it_ends_there_is_one_outcome_that_names_it(dying: Flow, endpoint: str) -> None:
    with pytest.raises(RemoteError) as raised:
        dying.post(endpoint, Document(), timeout=10.0)
    assert isinstance(raised.value, (ExecutorError, Unavailable)) and raised.value.node == "it"
    assert isinstance(raised.value, ExecutorError) or raised.value.maybe_executed
    assert dying.post("/", Document(text="next"), timeout=10.0).texts == ["next"]


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


class Poisoned(Diarist):
    """Dies of one request."""

    @requests(on="/again", idempotent=True)
    def again(self, docs, **kwargs):
        is_poison = docs[0].text == "poison"
        super().again(docs, **kwargs)
        if is_poison:
            os._exit(1)


@pytest.mark.time_limit(60)
@pytest.mark.parametrize("many", [300, pytest.param(9_999, marks=[pytest.mark.full, pytest.mark.time_limit(300)])])
def test_row_22_one_request_that_kills_is_found_among_many(
    replicated: Callable[..., Flow], diary: Path, many: int
) -> None:
    poison: list[ZflowError] = []

    def ask(client: Client) -> None:
        try:
            client.post("/again", Document(text="poison"), timeout=30.0)
        except ZflowError as error:
            poison.append(error)

    with replicated(uses=Poisoned) as flow, Client(port=flow.port) as client, Client(port=flow.port) as other:
        asking = threading.Thread(target=ask, args=(other,))

        def begin() -> bool:
            if not asking.ident:
                asking.start()
            return True

        rush = Rush(client, many, on="/again", outstanding=8).run(every=many // 3, deed=begin)
        asking.join()
    rush.check()
    assert rush.errors == {}
    assert [type(error) for error in poison] == [PoisonRequest]
    assert runs(diary)["poison"] == 2
