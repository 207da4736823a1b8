"""What an error tells of where it comes from, through real processes."""

from __future__ import annotations

import json
import re

import pytest

from zflow import Client, Document, Executor, ExecutorError, Flow, requests


class Failing(Executor):
    @requests
    def fail(self, **kwargs):
        raise ValueError("on purpose")

    @requests(on="/deep")
    def go_deep(self, **kwargs):
        self.read_it("{")

    def read_it(self, text):
        json.loads(text)

    @requests(on="/leave")
    def leave(self, **kwargs):
        raise SystemExit(3)


def test_an_error_tells_the_way_through_flows_within_flows() -> None:
    with Flow(quiet=True).add(uses=Failing, name="inner", shards=2, polling="ALL") as inner:
        outer = Flow(quiet=True).add(name="outer", host="localhost", port_in=inner.port, external=True)
        with outer, Client(port=outer.port) as client:
            for asked in (outer, client):
                with pytest.raises(ExecutorError) as raised:
                    asked.post("/", Document())
                first, last = raised.value.path
                assert (first, last.partition("/")[0], raised.value.attempt) == ("outer/rep-0", "inner", 1)
                assert f"(by way of outer/rep-0 > {last})" in str(raised.value)


def test_a_remote_traceback_begins_with_the_users_own_code() -> None:
    with Flow(quiet=True).add(uses=Failing) as flow:
        with pytest.raises(ExecutorError) as raised:
            flow.post("/deep", Document())
        told = raised.value.traceback
        assert re.match(
            r'The last line of your own:\n  File ".*test_errors.py", line \d+, in read_it\n    json.l', told
        )
        frames = re.findall(r'File "(.*)", line', told.partition("Traceback")[2])
        assert frames[0].endswith("test_errors.py") and not any("/zflow/drivers/" in frame for frame in frames)


def test_leaving_by_sys_exit_is_an_error_and_the_process_serves_on() -> None:
    with Flow(quiet=True).add(uses=Failing) as flow:
        before = flow.status()
        with pytest.raises(ExecutorError, match=r"SystemExit\(3\); a method cannot end its process"):
            flow.post("/leave", Document())
        with pytest.raises(ExecutorError, match="on purpose"):
            flow.post("/", Document())
        assert flow.status() == before
