"""YAML files are edited while what they describe serves: what has changed starts anew, all else goes on as it is."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import descendants_of, read_until, wait_for
from zflow import Client, Deployment, Document, DocumentArray, Executor, Flow
from zflow.errors import ConfigError

CLASSES = """\
from zflow import Executor, requests


class Say(Executor):
    def __init__(self, word: str = "a", **kwargs):
        super().__init__(**kwargs)
        self.word = word

    @requests
    def say(self, docs, **kwargs):
        docs.texts = [text + self.word for text in docs.texts]


class Shout(Say):
    @requests
    def say(self, docs, **kwargs):
        docs.texts = [text + self.word.upper() for text in docs.texts]
"""


def executor_yaml(jtype: str = "Say", word: str = "a") -> str:
    return f"jtype: {jtype}\nwith:\n  word: {word}\nmetas:\n  py_modules: [classes.py]\n"


def flow_yaml(*executors: str) -> str:
    return "jtype: Flow\nexecutors:\n" + "".join(executors)


def entry(name: str, uses: str = "Say", **options: Any) -> str:
    modules = "" if uses.endswith(".yml") else "  py_modules: [classes.py]\n"
    return f"- name: {name}\n  uses: {uses}\n{modules}" + "".join(f"  {key}: {options[key]}\n" for key in options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "classes.py").write_text(CLASSES)
    (tmp_path / "say.yml").write_text(executor_yaml())
    return tmp_path


def answer(asked: Any) -> str:
    [text] = asked.post("/", Document(text="")).texts
    return text


def wait_for_answer(asked: Any, wanted: str) -> None:
    wait_for(lambda: answer(asked) == wanted, f"the answer {wanted!r}")


def pids(served: Flow | Deployment) -> dict[str, int | None]:
    return {status.name: status.pid for status in served.status()}


def kept(before: dict[str, int | None], served: Flow | Deployment) -> set[str]:
    """Whose processes are still the same ones."""
    now = pids(served)
    return {name for name, pid in before.items() if now.get(name) == pid}


class Load:
    """Requests without a pause, from this process and by the gateway, while the block runs."""

    def __init__(self, *asked: Any) -> None:
        self.answers: list[str] = []
        self.errors: list[BaseException] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(one,)) for one in asked]

    def _ask(self, asked: Any) -> None:
        while not self._is_over.is_set() and not self.errors:
            try:
                self.answers.append(answer(asked))
            except BaseException as error:
                self.errors.append(error)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


# -- as promised -------------------------------------------------------------------------------------------------------

SCRIPT = """\
import os
from zflow import Flow, Executor, requests
os.environ['ZFLOW_LOG_LEVEL'] = 'DEBUG'


class MyExecutorBeforeRestart(Executor):
   @requests
   def foo(self, docs, **kwargs):
       for doc in docs:
          doc.text = 'MyExecutorBeforeRestart'


class MyExecutorAfterRestart(Executor):
   @requests
   def foo(self, docs, **kwargs):
       for doc in docs:
          doc.text = 'MyExecutorAfterRestart'

f = Flow(port={port}).add(uses='executor.yml', restart=True)

with f:
    f.block()
"""


def test_the_example_of_the_manual(tmp_path, start, port):
    file = tmp_path / "executor.yml"
    file.write_text("jtype: MyExecutorBeforeRestart\n")
    (tmp_path / "app.py").write_text(SCRIPT.format(port=port))
    flow = start(sys.executable, "app.py", cwd=tmp_path)
    read_until(flow, "ready to use")
    with Client(port=port) as client:
        assert client.post(on="/", inputs=DocumentArray.empty(1))[0].text == "MyExecutorBeforeRestart"
        file.write_text("jtype: MyExecutorAfterRestart\n")
        line = read_until(flow, "observed")
        told = f"change in Executor configuration YAML {file} observed, restarting Executor deployment"
        assert f"Flow@{flow.pid}[I]:{told}\n" in line
        wait_for(lambda: client.post(on="/", inputs=DocumentArray.empty(1))[0].text == "MyExecutorAfterRestart", "it")


# -- of Executors ------------------------------------------------------------------------------------------------------


def test_only_the_executor_whose_file_changed_is_restarted_and_a_fault_leaves_it_as_it_is(folder, capfd):
    other = folder / "other.yml"
    other.write_text(executor_yaml("Shout", "b"))
    flow = (
        Flow(restart=True).add(uses=str(folder / "say.yml"), name="say", replicas=2).add(uses=str(other), name="other")
    )
    with flow, Client(port=flow.port) as client, Load(flow, client) as load:
        before = pids(flow)
        (folder / "say.yml").write_text(executor_yaml("Shout", "x"))
        wait_for(lambda: {answer(client) for _ in range(8)} == {"XB"}, "both")
        assert kept(before, flow) == {"other/rep-0", "gateway"}
        before = pids(flow)
        other.write_text(executor_yaml("Shout", "b").replace("with", "wiht"))
        told = ""
        while "serves on as it was" not in told:
            told += capfd.readouterr().err
        assert re.search(r"other serves on as it was before the change: other: .*other\.yml:3 wiht: .*'with'", told)
        assert kept(before, flow) == set(before)
        other.write_text(executor_yaml("Say", "c"))
        wait_for_answer(client, "Xc")
    assert load.errors == []


def test_a_file_that_python_code_reloads_and_yaml_restarts(folder):
    with Deployment(uses=str(folder / "say.yml"), reload=True, restart=True) as deployment:
        assert answer(deployment) == "a"
        (folder / "say.yml").write_text(executor_yaml("Shout"))
        wait_for_answer(deployment, "A")  # it keeps the name that it had by its first class
        (folder / "classes.py").write_text(CLASSES.replace("self.word.upper()", "'new'"))
        wait_for_answer(deployment, "new")


def test_reload_cannot_take_another_class_and_restart_can(folder):
    file = folder / "say.yml"
    with Flow(reload=True).add(uses=str(file)) as reloaded, Flow(restart=True).add(uses=str(file)) as restarted:
        file.write_text(executor_yaml("Shout"))
        wait_for_answer(restarted, "A")
        (folder / "classes.py").write_text(CLASSES.replace("text + self.word for", "text + self.word * 2 for"))
        wait_for_answer(reloaded, "aa")  # its class is read anew, and is still the one that it began with
        assert answer(restarted) == "A"


def test_replicas_that_come_later_are_what_the_others_are_whatever_the_file_says_by_now(folder):
    file = folder / "say.yml"
    with Flow().add(uses=str(file), name="say") as flow:
        file.write_text(executor_yaml("Shout", "b"))
        flow.scale("say", replicas=3)
        assert {answer(flow) for _ in range(12)} == {"a"}
        flow.rolling_update("say")
        assert {answer(flow) for _ in range(12)} == {"B"}


def test_where_there_is_nothing_to_watch_with_it_says_so(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigError, match=r"reload and restart need watchfiles>=0\.18, which is not installed here"):
        Flow().add(uses=str(folder / "say.yml"), restart=True).start()


def test_what_cannot_be_restarted_is_refused(folder):
    with pytest.raises(ConfigError, match="executor0: restart watches the YAML file that `uses` names.*say reload"):
        Flow().add(uses=Executor, restart=True).start()


# -- of Flows ----------------------------------------------------------------------------------------------------------


def test_a_flow_becomes_what_its_file_says_and_keeps_what_is_the_same(folder):
    file = folder / "flow.yml"
    file.write_text(flow_yaml(entry("one"), entry("two"), entry("three", "say.yml")))
    with Flow.load_config(file, restart=True) as flow, Client(port=flow.port) as client, Load(flow, client) as load:
        port, before = flow.port, pids(flow)
        file.write_text(flow_yaml(entry("one"), entry("two", uses_with="{word: b}"), entry("three", "say.yml")))
        wait_for_answer(client, "aba")
        assert kept(before, flow) == {"one/rep-0", "three/rep-0", "gateway"}
        before = pids(flow)
        file.write_text(
            flow_yaml(entry("one", replicas=2), entry("two", uses_with="{word: b}"), entry("three", "say.yml"))
        )
        wait_for(lambda: "one/rep-1" in pids(flow), "the second one")
        assert kept(before, flow) == set(before)
        (folder / "say.yml").write_text(executor_yaml(word="c"))
        wait_for_answer(client, "abc")
        assert kept(before, flow) == {"one/rep-0", "two/rep-0", "gateway"}
        assert flow.port == port
    assert load.errors == []


def test_executors_come_and_go_and_the_graph_is_another_one(folder):
    file = folder / "flow.yml"
    file.write_text(flow_yaml(entry("one"), entry("two", uses_with="{word: b}")))
    with Flow.load_config(file, restart=True) as flow, Client(port=flow.port) as client, Load(flow, client) as load:
        before, port = pids(flow), flow.port
        new = entry("new", uses_with="{word: n}")
        file.write_text(flow_yaml(entry("one"), new, entry("two", uses_with="{word: b}")))
        wait_for(lambda: (answer(client), answer(flow)) == ("anb", "anb"), "the new one")
        assert kept(before, flow) == {"one/rep-0", "two/rep-0"} and flow.port == port
        file.write_text(flow_yaml(new, entry("one")))
        wait_for(lambda: (answer(client), answer(flow)) == ("na", "na"), "the other order, without one of them")
        wait_for(lambda: "two/rep-0" not in pids(flow), "it to end")
        assert kept(before, flow) == {"one/rep-0"}
        file.write_text(flow_yaml(new, entry("one"), entry("two", uses_with="{word: again}")))
        wait_for(lambda: (answer(client), answer(flow)) == ("naagain", "naagain"), "it to come again")
    assert load.errors == []


def test_faults_and_what_cannot_start_are_told_and_nothing_is_changed_until_they_are_mended(folder, capfd):
    file = folder / "flow.yml"
    file.write_text(flow_yaml(entry("one"), entry("two")))
    told = ""

    def hear(what: str) -> bool:
        nonlocal told
        told += capfd.readouterr().err
        return re.search(what, told) is not None

    with Flow.load_config(file, restart=True) as flow, Client(port=flow.port) as client:
        before = pids(flow)
        file.write_text(flow_yaml(entry("one"), entry("two", replicas="two")))
        wait_for(lambda: hear(r'flow\.yml:9 executors\[1\]\.replicas: expected a whole number, got "two"'), "the fault")
        file.write_text(flow_yaml(entry("one"), entry("two", needs="[onne]")))
        wait_for(lambda: hear("did you mean 'one'"), "the fault of the graph")
        file.write_text(flow_yaml(entry("new"), entry("one"), entry("two", uses_with="{no_word: b}")))
        wait_for(lambda: hear("two/rep-0 could not start"), "the one that cannot start")
        wait_for(lambda: pids(flow) == before, "everything to be as it was")
        assert answer(client) == answer(flow) == "aa"
        file.write_text(flow_yaml(entry("one"), entry("two", uses_with="{word: b}")))
        wait_for_answer(client, "ab")
        assert kept(before, flow) == {"one/rep-0", "gateway"}


def test_what_was_scaled_meanwhile_stays_so_and_what_only_a_new_start_can_change_is_told(folder, capfd):
    file = folder / "flow.yml"
    file.write_text(flow_yaml(entry("one"), entry("two")))
    with Flow.load_config(file, restart=True) as flow, Client(port=flow.port) as client:
        flow.scale("one", replicas=3)
        before = pids(flow)
        file.write_text(flow_yaml(entry("one"), entry("two", uses_with="{word: b}")) + "with:\n  port: 1\n")
        wait_for_answer(client, "ab")
        assert kept(before, flow) == {*before} - {"two/rep-0"}
        assert "port stays as it is until the Flow is started anew" in capfd.readouterr().err
        assert answer(client) == "ab"


def test_a_deployment_follows_its_file(folder):
    file = folder / "deployment.yml"
    text = "jtype: Deployment\nwith:\n  uses: Say\n  py_modules: [classes.py]\n"
    file.write_text(text)
    with Deployment.load_config(file, restart=True) as deployment, Client(port=deployment.port) as client:
        before = pids(deployment)
        file.write_text(text + "  uses_with: {word: b}\n  replicas: 2\n")
        wait_for(lambda: {answer(client) for _ in range(6)} == {"b"} and len(pids(deployment)) == 3, "both")
        assert kept(before, deployment) == {"Say/head"}
        before = pids(deployment)
        file.write_text(text + "  uses_with: {word: b}\n  replicas: 2\n  retries: 2\n")
        wait_for(lambda: kept(before, deployment) == {"Say/rep-0", "Say/rep-1"}, "another head")
        wait_for_answer(client, "b")


@pytest.mark.parametrize("command", [["flow", "--uses", "flow.yml"], ["executor", "--uses", "say.yml"]])
def test_from_the_command_line(folder, start, zflow_command, port, command):
    (folder / "flow.yml").write_text(flow_yaml(entry("one"), entry("two", "say.yml")))
    option = "--port" if command[0] == "flow" else "--port-in"
    served = start(*zflow_command, *command, option, str(port), "--restart", cwd=folder)
    read_until(served, "ready to use")
    with Client(port=port) as client:
        first = answer(client)
        before = set(descendants_of(served.pid))
        (folder / "say.yml").write_text(executor_yaml(word="b"))
        told = read_until(served, "observed")
        assert f"change in Executor configuration YAML {folder / 'say.yml'} observed" in told
        wait_for_answer(client, first[:-1] + "b")
        if command[0] == "flow":
            (folder / "flow.yml").write_text(flow_yaml(entry("one", uses_with="{word: c}"), entry("two", "say.yml")))
            told = read_until(served, "observed")
            assert f"change in Flow configuration YAML {folder / 'flow.yml'} observed: restarting one" in told
            wait_for_answer(client, "cb")
        wait_for(lambda: len(descendants_of(served.pid)) == len(before), "the old ones to end")


def test_an_asynchronous_flow_follows_its_file(folder):
    file = folder / "flow.yml"
    file.write_text(flow_yaml(entry("one")))

    async def main() -> list[str]:
        answers: list[str] = []
        async with Flow.load_config(file, restart=True, asyncio=True) as flow:
            file.write_text(flow_yaml(entry("one"), entry("two", uses_with="{word: b}")))
            while "ab" not in answers:
                answers += (await flow.post("/", Document(text=""))).texts
        return answers

    assert set(asyncio.run(main())) <= {"a", "ab"}


def test_nothing_goes_on_when_it_is_closed(folder):
    before = set(threading.enumerate())
    file = folder / "flow.yml"
    file.write_text(flow_yaml(entry("one")))
    with Flow.load_config(file, restart=True):
        file.write_text(flow_yaml(entry("one"), entry("two")))
    assert set(threading.enumerate()) == before
    wait_for(lambda: not descendants_of(os.getpid()), "all to end")
