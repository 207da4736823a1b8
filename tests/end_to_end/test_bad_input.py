"""What users get wrong: each a clear error that names the Executor, in bounded time, with the Flow still usable."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from zflow import Client, Document, Executor, Flow, requests
from zflow.errors import ConfigError, ExecutorError, PortInUse, StartError, Unavailable


class Troublesome(Executor):
    @requests
    def echo(self, docs, **kwargs):
        pass

    @requests(on="/nonsense")
    def nonsense(self, docs, **kwargs):
        return 42

    @requests(on="/raise")
    def raises(self, docs, **kwargs):
        raise LookupError("not there")

    @requests(on="/unspeakable")
    def unspeakable(self, **kwargs):
        return {"value": object()}

    @requests(on="/exit")
    def exit(self, **kwargs):
        os._exit(7)


@pytest.fixture(scope="module")
def flow():
    with Flow(quiet=True, quiet_error=True).add(uses=Troublesome, name="troublesome") as flow:
        yield flow


def assert_still_usable(flow: Flow) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            assert flow.post("/", Document(text="usable")).texts == ["usable"]
            return
        except Unavailable:
            assert time.monotonic() < until, "the Flow did not come back"


def test_nobody_listens_on_the_port(port) -> None:
    began = time.monotonic()
    with Client(port=port) as client, pytest.raises(Unavailable, match=f"{port}.*nobody listens"):
        client.post("/", Document())
    assert time.monotonic() - began < 6


def test_an_external_executor_that_is_not_there_is_named(port) -> None:
    with Flow(quiet=True).add(host="localhost", port_in=port, external=True, name="absent") as flow:
        with pytest.raises(Unavailable, match="absent.*nobody listens") as raised:
            flow.post("/", Document())
    assert raised.value.node == "absent" and not raised.value.maybe_executed


def test_something_else_listens_on_the_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = server.getsockname()[1]
        with Client(port=other) as client, pytest.raises(Unavailable, match=str(other)):
            client.post("/", Document())


def test_the_port_is_taken_and_its_holder_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"port {taken} is in use by .*pid {os.getpid()}"):
            with Flow(port=taken, quiet=True).add(uses=Troublesome):
                pass


def test_unknown_option_of_add_and_of_the_flow() -> None:
    with pytest.raises(ConfigError, match="replicas"):
        Flow().add(replcas=3)
    with pytest.raises(ConfigError, match="port"):
        Flow(prot=3)


def test_yaml_with_an_unknown_key_names_file_line_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "flow.yml"
    path.write_text("jtype: Flow\nexecutors:\n  - name: a\n    replcas: 2\n")
    with pytest.raises(ConfigError, match=r"flow\.yml:4.*replcas.*replicas"):
        Flow.load_config(str(path))


def test_a_class_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "executor.yml").write_text("jtype: Absent\nmetas:\n  py_modules: [module_of_mine.py]\n")
    (tmp_path / "module_of_mine.py").write_text("from zflow import Executor\nclass Present(Executor):\n    pass\n")
    with pytest.raises((StartError, ConfigError), match="Absent"):
        with Flow(quiet=True).add(uses=str(tmp_path / "executor.yml"), name="wrong"):
            pass


def test_a_module_that_raises_shows_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "executor.yml").write_text("jtype: Mine\nmetas:\n  py_modules: [raising.py]\n")
    (tmp_path / "raising.py").write_text("import no_such_module_anywhere\n")
    with pytest.raises(StartError, match="wrong/rep-0") as raised:
        with Flow(quiet=True).add(uses=str(tmp_path / "executor.yml"), name="wrong"):
            pass
    assert "no_such_module_anywhere" in str(raised.value)


def test_an_init_that_raises_ends_the_start_with_its_own_traceback() -> None:
    class Broken(Executor):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            raise ValueError("the model is not there")

    with pytest.raises(StartError, match="broken/rep-0") as raised:
        with Flow(quiet=True).add(uses=Troublesome).add(uses=Broken, name="broken"):
            pass
    assert "the model is not there" in str(raised.value)
    assert 'raise ValueError("the model is not there")' in raised.value.traceback


def test_an_init_that_takes_too_long_is_named() -> None:
    class Slow(Executor):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            time.sleep(60)

    began = time.monotonic()
    with pytest.raises(StartError, match="slow/rep-0"):
        with Flow(quiet=True).add(uses=Slow, name="slow", timeout_ready=500):
            pass
    assert time.monotonic() - began < 15


def test_a_method_that_raises(flow) -> None:
    with pytest.raises(ExecutorError, match="troublesome.*LookupError"):
        flow.post("/raise", Document())
    assert_still_usable(flow)


def test_a_method_that_returns_nonsense(flow) -> None:
    with pytest.raises(ExecutorError, match=r"troublesome.*nonsense.*returned int"):
        flow.post("/nonsense", Document())
    assert_still_usable(flow)


def test_a_result_that_cannot_travel(flow) -> None:
    with pytest.raises(ExecutorError, match=r"troublesome.*value"):
        flow.post("/unspeakable", Document())
    assert_still_usable(flow)


def test_a_method_that_ends_its_process(flow) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="troublesome") as raised:
        flow.post("/exit", Document())
    assert raised.value.maybe_executed
    assert time.monotonic() - began < 2
    assert_still_usable(flow)


def test_the_same_by_the_gateway(flow) -> None:
    with Client(port=flow.port) as client:
        with pytest.raises(Unavailable, match="troublesome"):
            client.post("/exit", Document())
        deadline = time.monotonic() + 10
        while True:
            try:
                assert client.post("/", Document(text="usable")).texts == ["usable"]
                break
            except Unavailable:
                assert time.monotonic() < deadline


def test_an_endpoint_that_is_no_endpoint(flow) -> None:
    with pytest.raises(ValueError, match="is no endpoint"):
        flow.post("no slash", Document())


def test_documents_that_are_none(flow) -> None:
    with pytest.raises(ValueError, match="int"):
        flow.post("/", [1, 2, 3])
    assert_still_usable(flow)


def test_parameters_that_cannot_travel(flow) -> None:
    with pytest.raises(ValueError, match="callback"):
        flow.post("/", parameters={"callback": print})
    assert_still_usable(flow)


def test_a_failing_start_in_one_thread_does_not_disturb_another_flow(flow) -> None:
    class Broken(Executor):
        def __init__(self, **kwargs):
            raise ValueError("broken")

    failed: list[bool] = []

    def fail() -> None:
        try:
            with Flow(quiet=True).add(uses=Broken):
                pass
        except StartError:
            failed.append(True)

    thread = threading.Thread(target=fail)
    thread.start()
    while thread.is_alive():
        assert flow.post("/", Document(text="x")).texts == ["x"]
    assert failed == [True]


def test_a_client_does_not_wait_again_for_what_the_gateway_has_waited_for(port) -> None:
    with Flow(quiet=True).add(host="localhost", port_in=port, external=True, name="absent") as flow:
        began = time.monotonic()
        with Client(port=flow.port) as client, pytest.raises(Unavailable, match="absent") as raised:
            client.post("/", Document())
        assert time.monotonic() - began < 6  # 3 s of patience, once
        assert not raised.value.maybe_executed
