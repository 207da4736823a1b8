"""`zflow client`: what is asked goes to the peer, and what comes back is JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zflow import Document, Executor, Flow, requests
from zflow.cli import main


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(arguments), input=stdin)


class Shout(Executor):
    @requests
    def shout(self, docs, parameters, **kwargs):
        for doc in docs:
            doc.text = doc.text.upper() + parameters.get("end", "")

    @requests(on="/count")
    def count(self, docs, **kwargs):
        return {"count": len(docs)}

    @requests(on="/spell")
    def spell(self, docs, **kwargs):
        for letter in docs[0].text:
            yield Document(text=letter)

    @requests(on="/fail")
    def fail(self, **kwargs):
        raise ValueError("as asked")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Flow(quiet=True, quiet_error=True).add(uses=Shout, name="shout") as flow:
        yield f"localhost:{flow.port}"


def test_call_prints_documents_and_results(address: str) -> None:
    told = json.loads(run("client", "call", address, "/", "--text", "a", "--text", "b", "--parameters", "end=!").output)
    assert [doc["text"] for doc in told["docs"]] == ["A!", "B!"]
    told = json.loads(run("client", "call", address, "/count", "--json", '[{"text": "x"}, {}]').output)
    assert told["results"] == [{"shout/rep-0": {"count": 2}}]


def test_call_reads_documents_from_stdin_and_files(address: str, tmp_path: Path) -> None:
    (tmp_path / "docs.json").write_text('{"text": "from a file"}')
    from_file = json.loads(run("client", "call", address, "/", "--json", f"@{tmp_path / 'docs.json'}").output)
    from_stdin = json.loads(run("client", "call", address, "/", "--json", "-", stdin='{"text": "stdin"}').output)
    assert from_file["docs"][0]["text"] == "FROM A FILE"
    assert from_stdin["docs"][0]["text"] == "STDIN"


def test_a_remote_error_is_told_and_is_an_exit_code(address: str) -> None:
    result = run("client", "call", address, "/fail")
    assert result.exit_code == 1
    assert "ValueError('as asked')" in result.stderr


def test_wrong_input_to_call(address: str) -> None:
    assert run("client", "call", address, "/", "--json", "{").exit_code == 2
    assert run("client", "call", address, "/", "--parameters", "3").exit_code == 2
    assert "which port" in run("client", "call", "localhost").stderr


def test_describe(address: str) -> None:
    assert json.loads(run("client", "describe", address).output)["nodes"] == [{"name": "shout", "needs": ["gateway"]}]


def test_what_is_yielded_is_a_line_each(address: str) -> None:
    lines = run("client", "stream", address, "/spell", "--text", "abc").output.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a", "b", "c"]


def test_a_result_is_streamed_as_one(address: str) -> None:
    lines = run("client", "stream", address, "/count", "--text", "x").output.splitlines()
    assert json.loads(lines[-1]) == {"results": {"shout/rep-0": {"count": 1}}}
