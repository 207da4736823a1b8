"""What real processes tell of themselves, and that stdout is the user's alone."""

from __future__ import annotations

import json
import re
from pathlib import Path

EXECUTOR = """
import logging
from zflow import Document, Executor, Flow, requests


class Teller(Executor):
    @requests
    def tell(self, docs, **kwargs):
        self.logger.info("told by %s", type(self).__name__)
        logging.getLogger("library").warning("a library's word")
        logging.getLogger("noisy").warning("nobody wants this")
        print("printed")

    @requests(on="/later")
    async def later(self, docs, **kwargs):
        self.logger.info("told by a coroutine")

    @requests(on="/fail")
    def fail(self, docs, **kwargs):
        raise ValueError("on purpose")
"""
SCRIPT = (
    EXECUTOR
    + """
with Flow({options}).add(uses=Teller, replicas=2, name="teller") as flow:
    for on in ("/", "/later"):
        flow.post(on, Document())
    flow.post("/fail", Document(), on_error=lambda response: None)
"""
)


def test_user_code_and_libraries_tell_as_their_process_does(run_script) -> None:
    done = run_script(SCRIPT.format(options=""))
    assert done.stdout == "printed\n"
    for text in ("told by Teller", "told by a coroutine"):
        assert re.search(rf"^teller/rep-[01]@\d+\[I\]:{text}$", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^teller/rep-[01]@\d+\[W\]:a library's word$", done.stderr, re.MULTILINE)


def test_json_lines_of_all_processes_with_the_ids_of_requests(run_script) -> None:
    done = run_script(SCRIPT.format(options="log_config={'format': 'json', 'levels': {'noisy': 'ERROR'}}"))
    assert done.stdout == "printed\n"
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["name"].partition("/")[0] for line in lines} == {"Flow", "teller"}
    told = {line["text"]: line for line in lines}
    assert "nobody wants this" not in told
    by_the_method, by_the_library = told["told by Teller"], told["a library's word"]
    assert by_the_method["requests"] == by_the_library["requests"] and len(by_the_method["requests"]) == 1
    assert told["told by a coroutine"]["requests"] not in ([], by_the_method["requests"])
    failed = told["ValueError('on purpose')"]
    assert failed["level"] == "ERROR" and failed["requests"] and "ValueError: on purpose" in failed["exception"]


STEPS = """
    from zflow import Client, Document, Executor, Flow, requests


    class Teller(Executor):
        @requests
        def tell(self, docs, **kwargs):
            self.logger.info("told")


    inner = Flow(quiet=True).add(uses=Teller, name="inner", shards=2, polling="ALL").start()
    flow = Flow(log_config="json").add(uses=Teller, name="first", replicas=2)
    flow = flow.add(name="second", host="localhost", port_in=inner.port, external=True)
    with flow, Client(port=flow.port) as client:
        for asked in (flow, client):
            [response] = asked.post("/", Document(), return_responses=True)
            print(response.request_id)
    inner.close()
"""


def test_the_id_that_the_caller_knows_is_on_the_lines_of_every_step(run_script) -> None:
    done = run_script(STEPS.replace("quiet=True", "log_config='json'"))
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    for request_id in done.stdout.split():
        tellers = [line["name"] for line in lines if line.get("requests") == [request_id]]
        assert sorted(name.replace("rep-1", "rep-0") for name in tellers) == [
            "first/rep-0",
            "inner/shard-0/rep-0",
            "inner/shard-1/rep-0",
        ]


def test_one_file_has_the_lines_of_all_processes(run_script, tmp_path: Path) -> None:
    (tmp_path / "logs.yml").write_text("file: logs/all.log\nlevel: WARNING\n")
    done = run_script(SCRIPT.format(options="log_config='logs.yml'"))
    assert "library" not in done.stderr
    told = (tmp_path / "logs" / "all.log").read_text()
    assert re.search(r"^teller/rep-[01]@\d+\[W\]:a library's word$", told, re.MULTILINE)
    assert re.search(r"^teller/rep-[01]@\d+\[E\]:ValueError\('on purpose'\)$", told, re.MULTILINE)
    assert "told by Teller" not in told


def test_quiet_is_quiet_whoever_speaks(run_script) -> None:
    done = run_script(SCRIPT.format(options="quiet=True"))
    assert (done.stdout, done.stderr) == ("printed\n", "")


def test_a_standalone_executor_tells_as_its_options_say(start, zflow_command, tmp_path: Path) -> None:
    (tmp_path / "teller.py").write_text(EXECUTOR)
    (tmp_path / "teller.yml").write_text("jtype: Teller\nmetas: {py_modules: [teller.py]}\n")
    words = ["executor", "--uses", str(tmp_path / "teller.yml"), "--port-in", "0", "--log-config", "json"]
    line = json.loads(start(*zflow_command, *words).stdout.readline())
    assert (line["name"], line["level"]) == ("Teller/rep-0", "INFO") and line["text"].startswith(
        "serving at tcp://127.0.0.1:"
    )


ASIDE = """
    import threading, warnings
    from zflow import Document, Executor, Flow, requests


    class Aside(Executor):
        @requests
        def go(self, **kwargs):
            warnings.warn("this is old", DeprecationWarning, stacklevel=1)
            thread = threading.Thread(target=self.fail)
            thread.start()
            thread.join()

        def fail(self):
            raise ValueError("in a thread")


    with Flow(quiet_error=True, env={"PYTHONWARNINGS": "default"}).add(uses=Aside) as flow:
        flow.post("/", Document())
"""


def test_warnings_and_the_end_of_threads_are_told_in_the_same_shape(run_script) -> None:
    told = run_script(ASIDE).stderr
    assert re.search(r"^executor0/rep-0@\d+\[W\]:.*script.py:\d+: DeprecationWarning: this is old$", told, re.MULTILINE)
    assert re.search(r"^executor0/rep-0@\d+\[E\]:ValueError\('in a thread'\)$", told, re.MULTILINE)
    assert "Exception in thread" not in told
