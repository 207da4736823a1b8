"""main() of children, and the same in the foreground."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import read_until, wait_for
from zflow.client import Client
from zflow.config.plan import Plan
from zflow.errors import ExecutorError, Unavailable
from zflow.executor import Executor, requests
from zflow.processes import entry
from zflow.processes.channel import Channel, Words
from zflow.processes.child import Child
from zflow.processes.interpreter import command
from zflow.processes.lifeline import TERMINATED
from zflow.processes.logs import Log
from zflow.roles.contract import failure
from zflow.wire.frames import DETAILS, part
from zflow.wire.header import Kind, Message


class Echo(Executor):
    def __init__(self, fail: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if fail:
            raise RuntimeError("on purpose")

    @requests
    def tell(self, **kwargs: Any) -> dict[str, Any]:
        print("asked")
        return {"pid": os.getpid()}

    def close(self) -> None:
        print("closing")


class Born:
    """A child that the test itself supervises."""

    def __init__(self, channel: Channel, process: subprocess.Popen[str]) -> None:
        self.channel = channel
        self.process = process
        self._heard: list[Words] = []

    def hear(self, key: str) -> Words:
        """Its next words with `key`."""
        while not any(key in words for words in self._heard):
            assert self.channel.wait(10.0), f"it did not say {key!r}"
            self._heard += self.channel.receive()
        [found, *_] = [words for words in self._heard if key in words]
        self._heard.remove(found)
        return found


@pytest.fixture
def bear(plan_of: Callable[..., Plan], ipc_directory: Path) -> Iterator[Callable[..., Born]]:
    born: list[Born] = []

    def start(*, gateway: bool = False, bind: str | None = None, addresses: Any = None, **options: Any) -> Born:
        plan = plan_of(options.pop("uses", Echo), **options)
        assert plan.gateway is not None
        child = Child(plan.gateway if gateway else plan.workers[0])
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(
            command("zflow.processes.entry", "run", theirs.fileno(), "test"),
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        theirs.close()
        made = Born(Channel(ours), process)
        born.append(made)
        bound = bind or ("tcp://127.0.0.1:0" if gateway else f"ipc://{ipc_directory}/a.sock")
        made.channel.send(child.first_words(bound, addresses or {}, Log("Flow")))
        made.channel.flush(5.0)
        return made

    yield start
    for made in born:
        made.channel.close()
        made.process.kill()
        made.process.wait()
        if made.process.stdout is not None:
            made.process.stdout.close()


def port_of(words: Words) -> int:
    return int(words["ready"].rpartition(":")[2])


def results_of(client: Client, on: str = "/") -> dict[str, Any]:
    [response] = client.post(on, return_responses=True)
    results: dict[str, Any] = response.to_dict()["parameters"].get("__results__", {})
    return results


def test_a_worker_says_ready_with_its_real_address_and_serves(bear: Callable[..., Born]) -> None:
    child = bear(bind="tcp://127.0.0.1:0")
    ready = child.hear("ready")
    assert ready["pid"] == child.process.pid
    with Client(port=port_of(ready)) as client:
        [told] = results_of(client).values()
    assert told == {"pid": child.process.pid}
    assert "asked" in read_until(child.process, "asked")  # told while it goes on, though nobody flushed
    child.channel.send({"stop": 5.0})
    assert child.process.communicate(timeout=10)[0] == "closing\n"
    assert child.process.returncode == entry.DONE


def test_its_socket_is_removed_at_the_end(bear: Callable[..., Born], ipc_directory: Path) -> None:
    child = bear()
    assert child.hear("ready")["ready"] == f"ipc://{ipc_directory}/a.sock"
    assert (ipc_directory / "a.sock").is_socket()
    child.channel.send({"stop": 5.0})
    child.process.wait(10.0)
    assert not (ipc_directory / "a.sock").exists()
    assert ipc_directory.exists()  # its owner lives


def test_the_last_to_leave_an_abandoned_directory_removes_it(bear: Callable[..., Born], ipc_directory: Path) -> None:
    child = bear()
    child.hear("ready")
    child.channel.close()
    child.process.wait(10.0)
    assert not ipc_directory.exists()
    ipc_directory.mkdir()


def test_what_keeps_it_from_starting_is_told_in_full(bear: Callable[..., Born]) -> None:
    child = bear(uses_with={"fail": True})
    told = child.hear("failed")
    assert (told["failed"], told["message"]) == ("RuntimeError", "on purpose")
    assert told["traceback"].endswith("RuntimeError: on purpose\n")
    assert 'raise RuntimeError("on purpose")' in told["traceback"]
    assert child.process.wait(10.0) == entry.NOT_STARTED
    assert child.process.communicate()[0] == ""


def test_a_taken_port_ends_it_after_it_has_closed(bear: Callable[..., Born]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        child = bear(bind=f"tcp://127.0.0.1:{taken.getsockname()[1]}")
        assert child.hear("failed")["failed"] == "PortInUse"
        assert child.process.communicate(timeout=10)[0] == "closing\n"
        assert child.process.returncode == 2


def test_a_gateway_learns_where_its_workers_are_and_are_no_more(bear: Callable[..., Born]) -> None:
    worker = bear(bind="tcp://127.0.0.1:0")
    address = worker.hear("ready")["ready"]
    gateway = bear(gateway=True)
    with Client(port=port_of(gateway.hear("ready"))) as client:
        gateway.channel.send({"address": ["executor0/rep-0", address]})
        assert results_of(client) == {"executor0/rep-0": {"pid": worker.process.pid}}
        gateway.channel.send({"address": ["executor0/rep-0", None]})
        worker.process.kill()
        other = bear(bind="tcp://127.0.0.1:0")
        gateway.channel.send({"address": ["executor0/rep-0", other.hear("ready")["ready"]]})
        found: list[Any] = []
        wait_for(lambda: found.append(results_of(client)) or found[-1], "the other one to be asked")
        assert found[-1] == {"executor0/rep-0": {"pid": other.process.pid}}


def test_a_gateway_knows_what_was_known_when_it_was_born(bear: Callable[..., Born]) -> None:
    worker = bear(bind="tcp://127.0.0.1:0")
    gateway = bear(gateway=True, addresses={"executor0/rep-0": worker.hear("ready")["ready"]})
    with Client(port=port_of(gateway.hear("ready"))) as client:
        assert results_of(client) == {"executor0/rep-0": {"pid": worker.process.pid}}


def test_what_fails_unawaited_is_told_by_name() -> None:
    log = Log("gateway")
    heard: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = heard.append  # type: ignore[method-assign]
    log._logger.addHandler(listener)
    entry._tell_floating(log, "audit", failure(bytes(16), Unavailable("nobody is there")))
    entry._tell_floating(log, "audit", Message(Kind.FAILURE, bytes(16), parts=[part(DETAILS, "", [b"\xc1"])]))
    first, second = [record.getMessage() for record in heard]
    assert first == "audit, which is floating, failed: nobody is there"
    assert "its reason cannot be read" in second


def test_one_that_finds_out_that_its_class_loads_wants_to_be_born_where_it_has(
    bear: Callable[..., Born], tmp_path: Path, ipc_directory: Path
) -> None:
    (tmp_path / "loads.py").write_text(
        "from zflow import Executor\n"
        "class Loads(Executor):\n"
        "    @classmethod\n"
        "    def preload(cls):\n"
        "        print('loading')\n"
    )
    options = {"uses": "loads:Loads", "py_modules": [str(tmp_path / "loads.py")]}
    child = bear(**options)
    assert child.hear("again") == {"again": "family", "because": ""}
    assert child.process.communicate(timeout=10)[0] == ""
    assert child.process.returncode == entry.DONE
    alone = bear(**options, start_method="spawn")
    alone.hear("ready")
    alone.channel.send({"stop": 5.0})
    assert alone.process.communicate(timeout=10)[0] == "loading\n"


def test_the_last_words_tell_only_of_what_is_not_ours() -> None:
    try:
        int("x")
    except ValueError as error:
        words = entry.last_words(error)
    assert words["failed"] == "ValueError" and "invalid literal" in words["message"]
    assert "test_the_last_words" in words["traceback"]


def test_nobody_who_tells_a_plan_means_that_nobody_wants_it() -> None:
    ours, theirs = socket.socketpair()
    script = f"import sys; from zflow.processes import entry; sys.exit(entry.run({theirs.fileno()}))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen([sys.executable, "-c", script], pass_fds=[theirs.fileno()], env=environment)
    ours.close()
    theirs.close()
    assert process.wait(10.0) == entry.DONE


# -- in the foreground -------------------------------------------------------------------------------------------------

FOREGROUND = """
import sys
from zflow.config.plan import plan_gateway, plan_standalone
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.executor import Executor, requests
from zflow.processes import entry

class Echo(Executor):
    def __init__(self, fail=False, **kwargs):
        super().__init__(**kwargs)
        if fail:
            raise RuntimeError('on purpose')

    @requests
    def tell(self, **kwargs):
        return {{}}

    @requests(on='/fail')
    def fail(self, **kwargs):
        raise ValueError('mine')

    @requests(on='/exit')
    def exit(self, **kwargs):
        sys.exit(5)

    @requests(on='/hang')
    def hang(self, **kwargs):
        print('hanging', flush=True)
        while True:
            pass

    def close(self):
        print('closing')

{body}
"""
WORKER = "sys.exit(entry.serve_worker(plan_standalone(ExecutorSpec.from_options(name='echo', uses=Echo, {options}))))"
GATEWAY = """
spec = FlowSpec.from_options().add(name='far', external=True, host='127.0.0.1', port_in={port})
sys.exit(entry.serve_gateway(plan_gateway(spec)))
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def begin(body: str) -> subprocess.Popen[str]:
        path = tmp_path / "served.py"
        path.write_text(FOREGROUND.format(body=textwrap.dedent(body)))
        started.append(
            subprocess.Popen(
                [sys.executable, "-u", str(path)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def port_told(process: subprocess.Popen[str]) -> int:
    return int(read_until(process, "serving at").rpartition(":")[2])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_serves_until_it_is_told_to_end(serve: Callable[..., Any], number: int) -> None:
    process = serve(WORKER.format(options=""))
    with Client(port=port_told(process)) as client:
        assert list(results_of(client).values()) == [{}]
        process.send_signal(number)
        assert process.communicate(timeout=10)[0] == "closing\n"
    assert process.returncode == 0


def test_a_second_signal_does_not_wait(serve: Callable[..., Any]) -> None:
    process = serve(WORKER.format(options=""))
    port = port_told(process)
    asking = subprocess.Popen(
        [sys.executable, "-c", f"from zflow.client import Client; Client(port={port}).post('/hang', on_error=print)"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    read_until(process, "hanging")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=10)[0]
    assert told.endswith("closing\n") and "ended by force" in told
    assert process.returncode == TERMINATED
    asking.kill()
    asking.wait()


def test_errors_of_user_code_are_told_where_it_runs(serve: Callable[..., Any]) -> None:
    process = serve(WORKER.format(options=""))
    with Client(port=port_told(process)) as client:
        with pytest.raises(ExecutorError, match="mine"):
            client.post("/fail")
        told = read_until(process, "^ValueError: mine")
        assert f"echo/rep-0@{process.pid}[E]:ValueError('mine')\n" in told
        assert ' add "--quiet-error" to suppress the exception details\nTraceback' in told
        with pytest.raises(ExecutorError, match=r"SystemExit\(5\)"):
            client.post("/exit")
        client.post("/")


def test_what_keeps_a_worker_from_serving_is_raised(serve: Callable[..., Any]) -> None:
    process = serve(WORKER.format(options="uses_with={'fail': True}"))
    told = process.communicate(timeout=10)[0]
    assert "RuntimeError: on purpose" in told and "closing" not in told
    assert process.returncode == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = serve(WORKER.format(options=f"port_in={port}"))
        told = process.communicate(timeout=10)[0]
    assert f"PortInUse: port {port} is in use" in told and told.count("closing") == 1


def test_a_gateway_to_external_executors(serve: Callable[..., Any], bear: Callable[..., Born]) -> None:
    worker = bear(bind="tcp://127.0.0.1:0")
    process = serve(GATEWAY.format(port=port_of(worker.hear("ready"))))
    with Client(port=port_told(process)) as client:
        assert results_of(client) == {"far/rep-0": {"pid": worker.process.pid}}
        process.terminate()
        assert process.wait(10.0) == 0


def test_exit_codes_are_distinct() -> None:
    codes = [entry.DONE, entry.NOT_STARTED, entry.BROKEN, TERMINATED]
    assert len(set(codes)) == len(codes)
