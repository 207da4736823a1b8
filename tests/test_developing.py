"""What follows its files while it is open: which of them, and what is left when only a part of it could be done."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.support.processes import wait_for
from zflow import Client, Deployment, Document, Executor, Flow, requests
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
"""


class Own(Executor):
    @requests
    def tell(self, **kwargs): ...


def yaml(**arguments: str) -> str:
    text = "jtype: Flow\nexecutors:\n"
    for name, given in arguments.items():
        text += f"- name: {name}\n  uses: Say\n  py_modules: [classes.py]\n  uses_with: {given}\n"
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "classes.py").write_text(CLASSES)
    (tmp_path / "flow.yml").write_text(yaml(one="{word: a}", two="{word: b}"))
    return tmp_path / "flow.yml"


def watchers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name in ("zflow-watch", "zflow-renewing")]


def pids(flow: Flow) -> dict[str, int | None]:
    return {status.name: status.pid for status in flow.status()}


def texts(asked: Flow | Client) -> list[str]:
    texts: list[str] = asked.post("/", Document(text="")).texts
    return texts


def test_what_has_no_files_to_follow_begins_nothing_though_its_flow_asks_for_it(file):
    with Flow(restart=True).add(uses=Own), Deployment(uses=Own), Flow.load_config(file):
        assert watchers() == []
    with Flow(restart=True, reload=True).add(uses=Own, reload=False):
        assert watchers() == []
    with Flow(reload=True).add(uses=Own):
        assert sorted(watchers()) == ["zflow-renewing", "zflow-watch"]
    assert watchers() == []


def test_a_flow_that_was_built_further_is_not_what_its_file_describes(file):
    with Flow.load_config(file, restart=True).add(uses=Own):
        assert watchers() == []


def test_options_win_over_the_file_each_time_that_it_is_read(file):
    with Flow.load_config(file, restart=True, name="mine", env={"WHO": "me"}) as flow:
        before = pids(flow)
        file.write_text(yaml(one="{word: a}", two="{word: c}") + "with:\n  name: other\n")
        wait_for(lambda: texts(flow) == ["ac"], "the change")
        assert pids(flow)["one/rep-0"] == before["one/rep-0"]
        assert (flow._spec.name, flow._spec.executors[1].env) == ("mine", {"WHO": "me"})


def test_what_could_be_done_stays_done_and_is_not_done_again(file, capfd):
    with Flow.load_config(file, restart=True) as flow:
        file.write_text(yaml(one="{word: A}", two="{wrod: B}"))
        told = ""
        while "two/rep-0 could not start" not in told:
            told += capfd.readouterr().err
        assert texts(flow) == ["Ab"]
        before = pids(flow)
        file.write_text(yaml(one="{word: A}", two="{word: B}"))
        wait_for(lambda: texts(flow) == ["AB"], "the mended one")
        assert [name for name, pid in pids(flow).items() if pid == before[name]] == ["one/rep-0", "gateway"]


def test_it_is_opened_again_as_it_was_changed(file):
    flow = Flow.load_config(file, restart=True)
    with flow:
        file.write_text(yaml(one="{word: A}", two="{word: b}"))
        wait_for(lambda: texts(flow) == ["Ab"], "the change")
    with flow:
        assert texts(flow) == ["Ab"]
        file.write_text(yaml(one="{word: A}"))
        wait_for(lambda: texts(flow) == ["A"], "the next change")


def test_a_forked_copy_ends_nothing(file):
    with Flow.load_config(file, restart=True, reload=True) as flow:
        pid = os.fork()
        if not pid:
            flow.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        file.write_text(yaml(one="{word: A}", two="{word: b}"))
        wait_for(lambda: texts(flow) == ["Ab"], "the change")


def test_an_option_of_the_flow_that_is_no_option_is_refused_with_its_name(file):
    with pytest.raises(ConfigError, match="restrat.*did you mean 'restart'"):
        Flow.load_config(file, restrat=True)
