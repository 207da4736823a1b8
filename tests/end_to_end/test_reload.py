"""An Executor is edited while it serves: the next request that comes after the change meets the new one."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import descendants_of, is_alive, read_until, wait_for
from zflow import Client, Deployment, Document, DocumentArray, Executor, Flow, requests
from zflow.errors import ConfigError

FIRST = """\
from zflow import Executor, requests


class MyExecutor(Executor):
    @requests
    def foo(self, docs, **kwargs):
        for doc in docs:
            doc.text = 'I am coming from the first version of MyExecutor'
"""
NEW = FIRST.replace("the first version", "a new version")
TELLS = """\
from zflow import Executor, requests
{imports}

class Parrot(Executor):
    @requests
    def tell(self, docs, **kwargs):
        docs.texts = [{word}] * len(docs)
"""


def tells(word: str, imports: str = "") -> str:
    """The source of an Executor whose answer is the expression `word`."""
    return TELLS.format(word=word, imports=imports)


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def by_rename(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.tmp")
    new.write_text(text)
    os.replace(new, path)


def as_vim_does(path: Path, text: str) -> None:
    os.rename(path, f"{path}~")
    path.write_text(text)
    os.unlink(f"{path}~")


def in_steps(path: Path, text: str) -> None:
    with path.open("w") as file:
        for line in text.splitlines(keepends=True):
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def answer(asked: Any, on: str = "/") -> str:
    [text] = asked.post(on, Document()).texts
    return text


def wait_for_answer(asked: Any, wanted: str, on: str = "/") -> None:
    wait_for(lambda: answer(asked, on) == wanted, f"the answer {wanted!r}")


def wait_for_all(asked: Any, wanted: str) -> None:
    """Until every process that could be asked gives that answer."""
    wait_for(lambda: {answer(asked) for _ in range(8)} == {wanted}, f"nothing but {wanted!r}")


def wait_to_hear(told: Callable[[], str], what: str, times: int) -> None:
    wait_for(lambda: told().count(what) == times, f"{what!r}, {times} times")


@contextmanager
def opened(folder: Path, source: str, **options: Any) -> Iterator[tuple[Flow, Path]]:
    file = folder / "tells.py"
    file.write_text(source)
    options = {"uses": "Parrot", "py_modules": [str(file)], "name": "teller", "reload": True, **options}
    with Flow(timeout_ready=20_000).add(**options) as flow:
        yield flow, file


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What all processes have logged since the test began."""
    heard: list[str] = []

    def hear() -> str:
        heard.append(capfd.readouterr().err)
        return "".join(heard)

    return hear


# -- as promised -------------------------------------------------------------------------------------------------------

SCRIPT = """\
import os
from zflow import Flow

from my_executor import MyExecutor
os.environ['ZFLOW_LOG_LEVEL'] = 'DEBUG'


f = Flow(port={port}).add(uses=MyExecutor, reload=True)

with f:
    f.block()
"""


def test_the_example_of_the_manual(tmp_path, start, port):
    source = tmp_path / "my_executor.py"
    source.write_text(FIRST)
    (tmp_path / "app.py").write_text(SCRIPT.format(port=port))
    flow = start(sys.executable, "app.py", cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""})
    begun = read_until(flow, "ready to use")
    assert re.search(r"executor0/rep-0@\d+\[D\]:serving at ", begun), "the level that was set after the import"
    with Client(port=port) as client:
        first = client.post(on="/", inputs=DocumentArray.empty(1))[0].text
        assert first == "I am coming from the first version of MyExecutor"
        source.write_text(NEW)
        line = read_until(flow, "detected changes")
        wanted = rf"executor0/rep-0@(\d+)\[I\]:detected changes in: \['{source}'\]\. Refreshing the Executor\n$"
        found = re.search(wanted, line)
        assert found is not None and int(found[1]) in descendants_of(flow.pid)
        wait_for_answer(client, "I am coming from a new version of MyExecutor")
        source.write_text(NEW.replace("new", "wen"))  # as long as it was, within the same second
        wait_for_answer(client, "I am coming from a wen version of MyExecutor")


@pytest.mark.parametrize("save", [in_place, by_rename, as_vim_does, in_steps], ids=lambda save: save.__name__)
def test_however_an_editor_saves_it_is_one_change(tmp_path, told, save):
    with opened(tmp_path, tells("'first'")) as (flow, file):
        assert answer(flow) == "first"
        save(file, tells("'second'"))
        wait_for_answer(flow, "second")
        save(file, tells("'third'"))
        wait_for_answer(flow, "third")
    assert told().count("detected changes") == 2


def test_what_is_watched(tmp_path, told, monkeypatch):
    """The class's file, its py_modules wherever they are, and every Python file in its folder and below."""
    package, other = tmp_path / "pack", tmp_path / "other"
    (package / "parts").mkdir(parents=True)
    other.mkdir()
    for name, text in {
        "__init__.py": "",
        "parts/__init__.py": "",
        "words.py": "WORD = 'a'",
        "parts/more.py": "from ..words import WORD\nMORE = WORD + '1'",
        "tells.py": tells("MORE + extra.EXTRA", "from .parts.more import MORE\nimport extra\n"),
    }.items():
        (package / name).write_text(text)
    (other / "extra.py").write_text("EXTRA = '!'")
    (tmp_path / "beside.py").write_text("")
    options = {"uses": "Parrot", "py_modules": [str(other / "extra.py"), str(package / "tells.py")], "reload": True}
    with Flow().add(**options) as flow:
        assert answer(flow) == "a1!"
        (package / "words.py").write_text("WORD = 'b'")
        wait_for_answer(flow, "b1!")
        (package / "parts" / "more.py").write_text("from ..words import WORD\nMORE = WORD + '2'")
        wait_for_answer(flow, "b2!")
        (other / "extra.py").write_text("EXTRA = '?'")
        wait_for_answer(flow, "b2?")
        (package / "new").mkdir()
        (package / "new" / "__init__.py").write_text("")
        (package / "new" / "word.py").write_text("NEW = 'new'")
        (package / "words.py").write_text("from .new.word import NEW as WORD")
        wait_for_answer(flow, "new2?")
        (package / "new" / "word.py").write_text("NEW = 'newer'")
        wait_for_answer(flow, "newer2?")
        before = told().count("detected changes")
        (tmp_path / "beside.py").write_text("# nobody's")
        (package / "notes.txt").write_text("no Python")
        (package / ".hidden.py").write_text("an editor's own")
        (package / "words.py").write_text("WORD = 'c'")
        wait_for_answer(flow, "c2?")
        assert "beside" not in told() and "notes" not in told() and "hidden" not in told()
        assert told().count("detected changes") == before + 1


def test_new_endpoints_appear_and_what_is_in_the_workspace_stays(tmp_path):
    first = tells("(self.counted(), 'first')[1]").replace(
        "    @requests\n",
        "    def counted(self):\n"
        "        from pathlib import Path\n"
        "        state = Path(self.workspace) / 'count'\n"
        "        state.write_text(f'{int(state.read_text()) + 1 if state.exists() else 1}')\n"
        "        return state.read_text()\n\n"
        "    @requests\n",
    )
    second = (
        first
        + "\n    @requests(on='/count')\n    def count(self, docs, **kwargs):\n        docs.texts = [self.counted()]\n"
    )
    with opened(tmp_path, first, workspace=str(tmp_path / "kept")) as (flow, file):
        assert (
            answer(flow) == answer(flow, "/count") == "first"
        )  # there is no such endpoint, so the default one answers
        file.write_text(second)
        wait_for(lambda: answer(flow, "/count") != "first", "the new endpoint")
        assert int(answer(flow, "/count")) >= 4


# -- bad edits ---------------------------------------------------------------------------------------------------------

BAD = {
    "SyntaxError": tells("'second'").replace("class", "clas"),
    "cannot import name": tells("'second'", "from zflow import nothing_like_it\n"),
    "no such model": tells("'second'") + "\n    def __init__(self, **kwargs): raise RuntimeError('no such model')",
    "no Executor class 'Parrot'": tells("'second'").replace("Parrot", "Told"),
}


def test_a_bad_edit_is_told_once_and_the_next_good_one_heals(tmp_path, told):
    with opened(tmp_path, tells("'first'"), replicas=2) as (flow, file):
        for number, (why, source) in enumerate(BAD.items(), start=1):
            file.write_text(source)
            wait_to_hear(told, "serves on as it was", number)
            assert why in told()
            assert answer(flow) == "first"
        assert {status.restarts for status in flow.status()} == {0}
        file.write_text(tells("'good'"))
        wait_for_all(flow, "good")
    assert told().count("clas Parrot(Executor):") == 1
    assert told().count("in __init__") == 1
    assert "known: Told" in told()


def test_who_saves_again_need_not_wait_for_what_hangs(tmp_path):
    with opened(tmp_path, tells("'first'")) as (flow, file):
        begun = tmp_path / "begun"
        file.write_text(f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\nwhile True: time.sleep(1)\n")
        wait_for(begun.exists, "the one that hangs")
        file.write_text(tells("'second'"))
        wait_for_answer(flow, "second")


def test_who_is_still_busy_does_not_keep_the_next_one_away(tmp_path):
    begun, go_on = tmp_path / "begun", tmp_path / "go on"
    busy = (
        "\n    @requests(on='/busy')\n    def busy(self, docs, **kwargs):\n"
        "        import pathlib, time\n"
        f"        pathlib.Path({str(begun)!r}).touch()\n"
        f"        while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\n"
        "        docs.texts = ['kept']\n"
    )
    answers: list[str] = []
    with opened(tmp_path, tells("'first'") + busy) as (flow, file):
        asking = threading.Thread(target=lambda: answers.append(answer(flow, "/busy")))
        asking.start()
        wait_for(begun.exists, "the request to begin")
        for word in ("second", "third"):
            file.write_text(tells(f"'{word}'"))
            wait_for_answer(flow, word)
        go_on.touch()
        asking.join()
    assert answers == ["kept"]


# -- under load --------------------------------------------------------------------------------------------------------


class Load:
    """Requests without a pause, by the Flow and by a Client, until `is_over` and so many are answered."""

    def __init__(self, flow: Flow, wanted: int) -> None:
        self.answers: list[tuple[str, ...]] = []
        self.seconds: list[float] = []
        self.errors: list[BaseException] = []
        self.wanted = wanted
        self.is_over = False
        self._client = Client(port=flow.port)
        self._threads = [threading.Thread(target=self._ask, args=(asked,)) for asked in (flow, self._client)]

    def _ask(self, asked: Any) -> None:
        while (not self.is_over or len(self.answers) < self.wanted) and not self.errors:
            began = time.monotonic()
            try:
                self.answers.append(tuple(asked.post("/", [Document() for _ in range(3)]).texts))
            except BaseException as error:
                self.errors.append(error)
            self.seconds.append(time.monotonic() - began)

    @property
    def goes_on(self) -> bool:
        return len(self.answers) < self.wanted and not self.errors

    def told(self, what: str) -> str:
        """Its figures, for people."""
        took = sorted(self.seconds)
        middle, late = took[len(took) // 2] * 1000, took[len(took) * 99 // 100] * 1000
        return (
            f"{len(self.answers)} requests, {len(self.errors)} errors, {what}: "
            f"median {middle:.1f} ms, 99 of 100 within {late:.1f} ms, the slowest {took[-1] * 1000:.0f} ms"
        )

    def wait_for(self, answer: str) -> None:
        """Let somebody be answered that."""
        wait_for(lambda: self.errors or any(answer in texts for texts in self.answers[-200:]), f"an answer {answer!r}")

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self.is_over = True
        for thread in self._threads:
            thread.join()
        self._client.close()


@pytest.mark.parametrize(
    ("many", "edits", "broken"),
    [(1_000, 10, 2), pytest.param(10_000, 50, 10, marks=[pytest.mark.full, pytest.mark.time_limit(300)])],
)
@pytest.mark.time_limit(90)
def test_under_load_no_request_fails_and_each_meets_one_version(tmp_path, told, many, edits, broken):
    with opened(tmp_path, version(0), replicas=2) as (flow, file), Load(flow, many) as load:
        failures = 0
        for number in range(1, edits + 1):
            if number % (edits // broken) == 0:
                failures += 1
                file.write_text(version(number).replace("class", "clas"))
                wait_to_hear(told, "serves on as it was", failures)
            else:
                file.write_text(version(number))
                wait_for_all(flow, f"v{number} v{number}")
                load.wait_for(f"v{number} v{number}")
    print(load.told(f"{edits} edits, {broken} of them broken"))
    assert load.errors == []
    assert len(load.answers) >= many and len(versions_in(load)) == edits - broken + 1


@pytest.mark.full
@pytest.mark.time_limit(300)
def test_reloaded_each_second_under_load(tmp_path):
    """Whether or not the one before has been taken over yet."""
    with opened(tmp_path, version(0), replicas=2) as (flow, file):
        with Load(flow, 10_000) as load:
            edits, began = 0, time.monotonic()
            while load.goes_on or (edits < 20 and not load.errors):
                if time.monotonic() - began >= edits + 1:
                    edits += 1
                    file.write_text(version(edits))
                time.sleep(0.01)
            load.is_over = True
        wait_for_all(flow, f"v{edits} v{edits}")
    seen = versions_in(load)
    print(load.told(f"{edits} edits in {time.monotonic() - began:.0f} s, of which {len(seen) - 1} were met"))
    assert load.errors == [] and len(load.answers) >= 10_000
    assert edits >= 20 and seen <= {f"v{number} v{number}" for number in range(edits + 1)}
    assert len(seen) > edits // 2


def version(number: int) -> str:
    """Of an Executor that tells its module's version and that of the class, which must be the same one."""
    source = tells("f'{WORD} {self.word}'", "WORD = '{word}'\n") + (
        "\n    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n        self.word = WORD\n"
    )
    return source.replace("{word}", f"v{number}")


def versions_in(load: Load) -> set[str]:
    """What has answered; each request by one version alone."""
    assert all(len(set(texts)) == 1 and len(set(texts[0].split())) == 1 for texts in load.answers)
    return {text for texts in load.answers for text in texts}


# -- other ways to serve -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--replicas", "2"]], ids=["alone", "behind a head"])
def test_an_executor_that_stands_alone_keeps_its_port(tmp_path, start, zflow_command, port, more):
    file = tmp_path / "tells.py"
    file.write_text(tells("'first'"))
    (tmp_path / "tells.yml").write_text("jtype: Parrot\nmetas:\n  py_modules: [tells.py]\n")
    command = ["executor", "--uses", "tells.yml", "--port-in", str(port), "--reload", *more]
    served = start(*zflow_command, *command, cwd=tmp_path)
    read_until(served, "ready to use")
    with (
        Client(port=port) as client,
        Flow(quiet=True).add(host="127.0.0.1", port_in=port, external=True) as flow,
    ):
        assert answer(client) == answer(flow) == "first"
        file.write_text(tells("'second'"))
        assert "Parrot/rep-0@" in read_until(served, r"detected changes in: \['.*tells.py'\]")
        wait_for_all(client, "second")
        assert answer(flow) == "second"


def test_a_deployment_is_reloaded(tmp_path):
    file = tmp_path / "tells.py"
    file.write_text(tells("'first'"))
    options = {"uses": "Parrot", "py_modules": [str(file)], "shards": 2, "polling": "ANY", "start_method": "spawn"}
    with Deployment(**options, reload=True) as deployment:
        file.write_text(tells("'second'"))
        wait_for_all(deployment, "second")


def test_a_flow_reloads_all_its_executors_and_one_with_a_port_keeps_it(tmp_path, port):
    files = [tmp_path / "a" / "tells.py", tmp_path / "b" / "tells.py"]
    flow = Flow(reload=True)
    for file in files:
        file.parent.mkdir()
        file.write_text(tells("docs[0].text + 'x'"))
        own = {"port_in": port} if file is files[0] else {}
        flow = flow.add(uses="Parrot", py_modules=[str(file)], name=file.parent.name, **own)
    with flow.add() as flow, Client(port=port) as client:
        pids = {status.name: status.pid for status in flow.status()}
        assert answer(flow) == "xx" and answer(client) == "x"
        files[0].write_text(tells("docs[0].text + 'A'"))
        wait_for_answer(flow, "Ax")
        wait_for_answer(client, "A")
        files[1].write_text(tells("docs[0].text + 'B'"))
        wait_for_answer(flow, "AB")
        now = {status.name: status.pid for status in flow.status()}
        assert {name for name in pids if pids[name] == now.get(name)} == {"executor2/rep-0", "gateway"}


def test_one_with_preload_is_loaded_anew_and_old_families_end(tmp_path):
    preloads = "\n    @classmethod\n    def preload(cls):\n        cls.word = '{word}'\n"
    source = tells("self.word")
    with opened(tmp_path, source + preloads.format(word="first"), replicas=2) as (flow, file):
        assert answer(flow) == "first"
        many = len(descendants_of(os.getpid()))
        for word in ("second", "third"):
            file.write_text(source + preloads.format(word=word))
            wait_for_all(flow, word)
        wait_for(lambda: len(descendants_of(os.getpid())) == many, "the old ones to end")
        file.write_text(tells("'without'"))
        wait_for_all(flow, "without")
        wait_for(lambda: len(descendants_of(os.getpid())) < many, "the family to end")


# -- what it costs, and what it leaves ---------------------------------------------------------------------------------


def test_nothing_goes_on_when_the_flow_is_closed(tmp_path):
    before = set(threading.enumerate())
    with opened(tmp_path, tells("'first'")) as (flow, file):
        pids = descendants_of(os.getpid())
        file.write_text(tells("'second'"))
        wait_for_answer(flow, "second")
        pids += descendants_of(os.getpid())
        file.write_text("import time\ntime.sleep(600)\n")
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert set(threading.enumerate()) == before
    wait_for(lambda: not any(map(is_alive, pids)), "all to end")
    file.write_text(tells("'third'"))
    assert [child for child in psutil.Process().children() if child.pid in pids] == []


def test_who_does_not_close_it_is_not_hindered_from_ending(tmp_path, run_script):
    (tmp_path / "tells.py").write_text(tells("'first'"))
    done = run_script(
        """
        from zflow import Flow
        from tells import Parrot
        print(Flow(reload=True).add(uses=Parrot).start().post("/", [{"text": ""}]).texts)
        """,
    )
    assert done.stdout.strip() == "['first']" and "Fatal" not in done.stderr


def test_where_nothing_is_watched_nothing_is_loaded_for_it(run_script):
    done = run_script(
        """
        import sys, threading
        from zflow import Executor, Flow
        with Flow().add(uses=Executor):
            names = [thread.name for thread in threading.enumerate()]
            print("watchfiles" in sys.modules, "zflow-watch" in names, "zflow-renewing" in names)
        """,
    )
    assert done.stdout.strip() == "False False False"


class Own(Executor):
    @requests
    def tell(self, **kwargs): ...


def test_what_cannot_be_reloaded_is_refused_when_it_is_started(tmp_path, monkeypatch, run_script):
    class Inner(Executor): ...

    with pytest.raises(ConfigError, match="^executor0: reload: .*Inner of .* cannot be read again.*a file of its own"):
        Flow().add(uses=Inner, reload=True).start()
    with pytest.raises(ConfigError, match="executor0: reload watches the files of a class, and there is none"):
        Flow().add(reload=True).start()
    with pytest.raises(ConfigError, match="external Executor runs already.*remove reload"):
        Flow().add(external=True, port_in=1, reload=True)
    done = run_script(
        "from zflow import Executor, Flow\nclass Own(Executor): ...\nFlow().add(uses=Own, reload=True).start()",
        check=False,
    )
    assert done.returncode == 1 and "reload: Own of __main__ cannot be read again" in done.stderr
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigError, match=r"reload and restart need watchfiles>=0\.18, which is not installed here"):
        Flow().add(uses=Own, reload=True).start()
