"""`zflow logs`: what the processes of a real Flow say, and said before they crashed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from zflow import Document, Executor, Flow, requests
from zflow.cli import main
from zflow.errors import ConfigError, Unavailable


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["logs", *arguments])


class Teller(Executor):
    @requests
    def tell(self, docs, **kwargs):
        for text in docs.texts:
            self.logger.info(text)

    @requests(on="/die")
    def die(self, **kwargs):
        self.logger.warning("these are my last words")
        os._exit(3)


@pytest.fixture(scope="module")
def flow() -> Iterator[Flow]:
    with Flow(log_config={"stderr": False}).add(uses=Teller, name="teller").add(name="other") as opened:
        opened.post("/", [Document(text="one"), Document(text="two")])
        yield opened


@pytest.fixture
def address(flow: Flow) -> str:
    return f"localhost:{flow.port}"


def test_the_lines_of_all_processes_in_the_one_shape(address: str) -> None:
    lines = run(address).output.splitlines()
    told = [line for line in lines if line.startswith("teller/")]
    assert [re.fullmatch(r"teller/rep-0@\d+\[I\]:(\w+)", line)[1] for line in told[:2]] == ["one", "two"]
    assert any(line.startswith(f"Flow@{os.getpid()}[I]:") for line in lines)


def test_of_one_executor_and_only_so_many_for_programs(address: str) -> None:
    result = run(address, "teller", "--lines", "1", "--json")
    [line] = map(json.loads, result.output.splitlines())
    assert (line["name"], line["text"], len(line["requests"])) == ("teller/rep-0", "two", 1)


def test_one_that_has_said_nothing_and_one_that_there_is_not(address: str) -> None:
    assert (run(address, "other").exit_code, run(address, "other/rep-0").output) == (0, "")
    result = run(address, "telller")
    assert result.exit_code == ConfigError.exit_code
    assert "no process there is called 'telller': did you mean 'teller'?" in result.stderr


def test_what_a_process_said_before_it_crashed_is_there(flow: Flow, address: str) -> None:
    with contextlib.suppress(Unavailable):
        flow.post("/die")
    assert "[W]:these are my last words" in run(address, "teller").output


def test_following_goes_on_until_ctrl_c(flow: Flow, address: str) -> None:
    command = [sys.executable, "-m", "zflow", "logs", address, "teller", "--follow", "--lines", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        number = 0
        while not _is_readable(following.stdout, 0.3):  # it may not have looked for the first time yet
            number += 1
            flow.post("/", Document(text=f"said meanwhile {number}"))
        assert re.fullmatch(r"teller/rep-0@\d+\[I\]:said meanwhile \d+\n", following.stdout.readline())
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0


def _is_readable(stream, seconds: float) -> bool:
    import select

    return bool(select.select([stream], [], [], seconds)[0])


def test_a_standalone_executor_tells_its_own(tmp_path) -> None:
    (tmp_path / "teller.py").write_text(
        "from zflow import Executor\nclass Alone(Executor):\n"
        "    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n        self.logger.info('made')\n"
    )
    (tmp_path / "teller.yml").write_text("jtype: Alone\nmetas: {py_modules: [teller.py]}\n")
    command = [sys.executable, "-m", "zflow", "executor", "--uses", str(tmp_path / "teller.yml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as served:
        try:
            assert served.stdout is not None
            told = [served.stdout.readline(), served.stdout.readline()]
            address = re.search(r"tcp://(\S+)", told[1])[1]
            assert run(address).output == "".join(told)
        finally:
            served.terminate()


def test_nobody() -> None:
    result = run("localhost:1", "--timeout", "200")
    assert result.exit_code == Unavailable.exit_code and "nobody listens" in result.stderr
