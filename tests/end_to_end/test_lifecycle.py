"""Birth and death of Flows: scripts, notebooks-like sessions, several at once, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.support.processes import descendants_of, is_alive, read_until, wait_for
from zflow import Client, Document, Executor, Flow, requests
from zflow.errors import ConfigError


class Echo(Executor):
    @requests
    def echo(self, docs, **kwargs):
        pass

    @requests(on="/slow")
    def slow(self, docs, **kwargs):
        if "begun" in docs[0].tags:
            Path(docs[0].tags["begun"]).touch()
        time.sleep(0.5)
        docs.texts = ["slept" for _ in docs]


def zflow_files() -> set[str]:
    """What zflow keeps in the file system while a Flow is open."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("zflow*")}


ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys, time
from zflow import Document, Executor, Flow, requests

class Echo(Executor):
    @requests
    def echo(self, docs, **kwargs):
        pass

    @requests(on='/sleep')
    def sleep(self, **kwargs):
        print('sleeping', flush=True)
        time.sleep(30)

    def close(self):
        print('closing...', flush=True)

with Flow().add(uses=Echo, replicas=2).add(uses=Echo) as f:
    f.post('/', Document(text='x'))
    print('ready', f.port, flush=True)
    {then}
"""


@pytest.fixture
def open_flow(tmp_path, start):
    """A script with an open Flow (three workers and a gateway) in a process group of its own."""

    def begin(then: str = "f.block()") -> tuple[subprocess.Popen[str], list[int]]:
        path = tmp_path / "script.py"
        path.write_text(SCRIPT.format(then=then))
        process = start(sys.executable, "-u", str(path), start_new_session=True)
        read_until(process, "^ready")
        children = descendants_of(process.pid)
        assert len(children) >= 4
        return process, children

    return begin


def assert_nothing_is_left(children: list[int], before: set[str], within: float) -> None:
    wait_for(lambda: not any(is_alive(child) for child in children), "all children to end", within)
    wait_for(lambda: zflow_files() <= before, "all files to be removed", within)


def test_ctrl_c_ends_everything_and_close_runs_once_each(open_flow) -> None:
    before = zflow_files()
    process, children = open_flow()
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate(timeout=15)[0]
    assert told.count("closing...") == 3
    assert "/zflow/" not in told  # no traceback of ours: at most the script's own, interrupted before it blocks
    assert_nothing_is_left(children, before, 5)


def test_ctrl_c_while_a_method_works_says_what_is_waited_for(open_flow) -> None:
    before = zflow_files()
    process, children = open_flow("f.post('/sleep')")
    read_until(process, "^sleeping")
    os.killpg(process.pid, signal.SIGINT)
    read_until(process, r"waiting for what is under way to end, for at most \d+ s; a second Ctrl-C ends it at once")
    os.killpg(process.pid, signal.SIGINT)
    process.wait(10)
    assert_nothing_is_left(children, before, 15)  # who has just been started again sees it when it has been born


def test_sigterm_in_block_ends_everything(open_flow) -> None:
    before = zflow_files()
    process, children = open_flow()
    process.terminate()
    told = process.communicate(timeout=15)[0]
    assert told.count("closing...") == 3
    assert_nothing_is_left(children, before, 5)


@pytest.mark.parametrize("then", ["f.block()", "f.post('/sleep')"])
def test_sigkill_of_the_parent_leaves_nothing(open_flow, then) -> None:
    before = zflow_files()
    process, children = open_flow(then)
    if "sleep" in then:
        read_until(process, "^sleeping")
    process.kill()
    process.wait(5)
    assert_nothing_is_left(children, before, 3)


def test_an_exception_inside_with_ends_everything(open_flow) -> None:
    before = zflow_files()
    process, children = open_flow("time.sleep(1.0); raise KeyError('mine')")
    told = process.communicate(timeout=15)[0]
    assert "KeyError: 'mine'" in told
    assert process.returncode == 1
    assert_nothing_is_left(children, before, 5)


def test_several_flows_one_after_another_and_at_once() -> None:
    for _ in range(3):
        with Flow(quiet=True).add(uses=Echo) as flow:
            assert flow.post("/", Document(text="again")).texts == ["again"]
    with Flow(quiet=True).add(uses=Echo) as first, Flow(quiet=True).add(uses=Echo) as second:
        assert first.port != second.port
        assert first.post("/", Document(text="1")).texts + second.post("/", Document(text="2")).texts == ["1", "2"]


def test_a_flow_may_be_opened_again() -> None:
    flow = Flow(quiet=True).add(uses=Echo)
    for _ in range(2):
        with flow:
            assert flow.post("/", Document(text="x")).texts == ["x"]


def test_flows_start_in_threads_and_beside_running_event_loops() -> None:
    import asyncio

    texts: list[str] = []

    def use() -> None:
        with Flow(quiet=True).add(uses=Echo) as flow:
            texts.extend(flow.post("/", Document(text="thread")).texts)

    async def within_a_loop() -> None:
        with Flow(quiet=True).add(uses=Echo) as flow:
            texts.extend(flow.post("/", Document(text="loop")).texts)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for thread in threads:
        thread.start()
    asyncio.run(within_a_loop())
    for thread in threads:
        thread.join(30)
    assert sorted(texts) == ["loop", "thread", "thread"]


def test_nothing_is_forked_from_a_process_that_could_not_bear_it(run_script) -> None:
    """CUDA, threads and event loops do not outlive a fork; so that of a Flow's own process is never made."""
    output = run_script(
        "import os, threading\n"
        "from zflow import Executor, Flow, requests\n"
        "os.register_at_fork(before=lambda: print('forked'))\n"
        "class Parents(Executor):\n"
        "    @requests\n"
        "    def tell(self, docs, **kwargs):\n"
        "        docs.texts = [str(threading.active_count() > 50) for _ in docs]\n"
        "over = threading.Event()\n"
        "for _ in range(60):\n"
        "    threading.Thread(target=over.wait).start()\n"
        "with Flow(quiet=True).add(uses=Parents, replicas=2).add(uses=Parents, start_method='spawn') as flow:\n"
        "    print(*flow.post('/', 'x').texts)\n"
        "over.set()\n"
    )
    assert output.stdout == "False\n"


def test_no_process_of_a_flow_has_shared_memory_that_could_be_left(open_flow) -> None:
    process, children = open_flow()
    for pid in [process.pid, *children]:
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "/dev/shm/" not in mapped and "/SYSV" not in mapped
    process.terminate()
    process.communicate(timeout=15)


def test_requests_in_flight_at_close_get_their_answers(tmp_path: Path) -> None:
    texts: dict[str, list[str]] = {}
    flow = Flow(quiet=True).add(uses=Echo, replicas=2)
    with flow:
        client = Client(port=flow.port)
        askers = {"inline": flow, "client": client}

        def ask(name: str) -> None:
            texts[name] = askers[name].post("/slow", Document(tags={"begun": str(tmp_path / name)})).texts

        under_way = [threading.Thread(target=ask, args=(name,)) for name in askers]
        for thread in under_way:
            thread.start()
        wait_for(lambda: len(list(tmp_path.iterdir())) == 2, "both requests to run")  # the Flow closes while they do
    for thread in under_way:
        thread.join(10)
    client.close()
    assert texts == {"inline": ["slept"], "client": ["slept"]}


def test_the_flow_is_over_when_it_is_closed() -> None:
    flow = Flow(quiet=True).add(uses=Echo)
    with pytest.raises(ConfigError, match="with flow"):
        flow.post("/")
    with flow:
        pass
    with pytest.raises(ConfigError, match="with flow"):
        flow.post("/")


def test_a_session_without_a_file_defines_executors_too(start) -> None:
    """As a notebook or an interactive prompt does: classes of ``__main__`` that no file holds."""
    source = (
        "from zflow import *\n"
        "import math\n"
        "factor = 3\n"
        "class Times(Executor):\n"
        "    @requests\n"
        "    def times(self, docs, **kwargs):\n"
        "        docs.texts = [str(math.floor(float(text)) * factor) for text in docs.texts]\n"
        "\n"
        "with Flow().add(uses=Times) as f:\n"
        "    print(f.post('/', Document(text='2.5')).texts)\n"
        "\n"
    )
    session = start(sys.executable, "-i", "-q", stdin=subprocess.PIPE)
    told = session.communicate(source, timeout=30)[0]
    assert "['6']" in told


def test_the_gateways_port_is_the_one_that_was_asked_for(port) -> None:
    with Flow(port=port, quiet=True).add(uses=Echo) as flow:
        assert flow.port == port
        with Client(port=port) as client:
            assert client.post("/", Document(text="x")).texts == ["x"]


WATCH_BINDS = """
import sys

def note(event, arguments):
    if event == 'socket.bind' and isinstance(arguments[1], tuple):
        with open({file!r}, 'a') as file:
            print(sys.argv, arguments[1], file=file)

sys.addaudithook(note)
"""


def test_no_port_is_found_by_trying_one(tmp_path: Path, run_script) -> None:
    """Who binds a port and lets it go, to name it to another, may find it taken. Here libzmq binds, and it stays."""
    noted = tmp_path / "binds"
    (tmp_path / "sitecustomize.py").write_text(WATCH_BINDS.format(file=str(noted)))
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    script = (
        "import socket\n"
        "from zflow import *\n"
        "for start_method in ('warm', 'spawn'):\n"
        "    with Flow(quiet=True).add(replicas=2, start_method=start_method) as flow:\n"
        "        with Client(port=flow.port) as client:\n"
        "            print(len(client.post('/', 'x')), flow.port > 0)\n"
        "{end}"
    )
    assert run_script(script.format(end=""), PYTHONPATH=path).stdout == "1 True\n" * 2
    assert not noted.exists(), noted.read_text()
    run_script(script.format(end="socket.socket().bind(('127.0.0.1', 0))\n"), PYTHONPATH=path)
    assert noted.exists(), "nothing was watched"


def test_a_flow_from_yaml_and_back(tmp_path: Path, start, zflow_command, port, monkeypatch) -> None:
    (tmp_path / "echo.py").write_text(
        "from zflow import Executor, requests\n"
        "class FileEcho(Executor):\n"
        "    def __init__(self, suffix='', **kwargs):\n"
        "        super().__init__(**kwargs)\n"
        "        self.suffix = suffix\n"
        "    @requests\n"
        "    def echo(self, docs, **kwargs):\n"
        "        docs.texts = [text + self.suffix for text in docs.texts]\n"
    )
    (tmp_path / "echo.yml").write_text("jtype: FileEcho\nmetas:\n  py_modules: [echo.py]\n")
    (tmp_path / "flow.yml").write_text(
        "jtype: Flow\n"
        "version: '1'\n"
        "with:\n"
        f"  port: {port}\n"
        "executors:\n"
        "  - name: first\n"
        "    uses: echo.yml\n"
        "    uses_with: {suffix: '${{ ENV.SUFFIX }}'}\n"
        "  - name: second\n"
        "    uses: echo.yml\n"
        "    needs: first\n"
    )
    env = {**os.environ, "SUFFIX": "!"}
    process = start(*zflow_command, "flow", "--uses", str(tmp_path / "flow.yml"), cwd="/", env=env)
    read_until(process, "Public address")
    with Client(port=port) as client:
        assert client.post("/", Document(text="hey")).texts == ["hey!"]
    process.terminate()
    process.communicate(timeout=15)
    assert process.returncode == 0

    monkeypatch.setenv("SUFFIX", "?")
    flow = Flow.load_config(str(tmp_path / "flow.yml"))
    flow.save_config(str(tmp_path / "saved.yml"))
    assert Flow.load_config(str(tmp_path / "saved.yml")) == flow
    monkeypatch.setenv("SUFFIX", "another")  # what was saved asks for it as what was loaded did
    assert Flow.load_config(str(tmp_path / "saved.yml")) != flow


ENDED_TWICE = """
import sys, time
from zflow import Client, Document, Executor, Flow, requests

class Slow(Executor):
    @requests
    def slow(self, docs, **kwargs):
        print('begun', flush=True)
        time.sleep(1.0)
        docs.texts = ['answered'] * len(docs)

    def close(self):
        time.sleep(0.3)
        print('closed', flush=True)

with Flow(quiet=True).add(uses=Slow) as f:
    print('ready', f.port, flush=True)
    f.block()
print('over', flush=True)
"""


@pytest.mark.parametrize("pause", [0.0, 0.2], ids=["at once", "while it drains"])
def test_a_second_sigterm_cuts_nothing_short(tmp_path: Path, start, pause: float) -> None:
    """``timeout`` sends it to its child, and then to the whole group."""
    script = tmp_path / "twice.py"
    script.write_text(ENDED_TWICE)
    process = start(sys.executable, str(script), start_new_session=True)
    port = int(read_until(process, r"^ready \d+").split()[-1])
    answers: list[list[str]] = []
    with Client(port=port) as client:
        asking = threading.Thread(target=lambda: answers.append(client.post("/", Document()).texts))
        asking.start()
        read_until(process, "^begun")
        process.send_signal(signal.SIGTERM)
        time.sleep(pause)
        process.send_signal(signal.SIGTERM)
        asking.join()
    told, _ = process.communicate(timeout=20.0)
    assert answers == [["answered"]]
    assert told.split() == ["closed", "over"]
    assert process.returncode == 0


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_flow_runs_where_stderr_cannot_be_written(tmp_path: Path, stderr: str) -> None:
    script = tmp_path / "mute.py"
    script.write_text(
        "from zflow import Flow\nwith Flow().add() as flow:\n    print(flow.post('/', 'a', show_progress=True).texts)\n"
    )
    done = subprocess.run(["sh", "-c", f"exec {sys.executable} {script} {stderr}"], stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"['a']\n")
