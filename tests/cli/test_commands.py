"""The command line: it parses, calls the Python API, and turns errors into words and exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zflow import Executor, Flow, requests
from zflow.cli import main
from zflow.config.deployment import OF_A_GRAPH, OF_THE_FRONT
from zflow.config.spec import ExecutorSpec, FlowSpec, Surface, options_of


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

    @requests(on="/fail")
    def fail(self, **kwargs):
        raise ValueError("as asked")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Flow(quiet=True, quiet_error=True).add(uses=Shout, name="shout") as flow:
        yield f"localhost:{flow.port}"


def test_executor_takes_every_option_meant_for_the_command_line() -> None:
    help_text = run("executor", "--help").output
    for option in options_of(ExecutorSpec):
        if Surface.CLI in option.surfaces:
            assert f"{option.flag} " in help_text, option.name


def test_deployment_takes_the_options_of_an_executor_and_of_what_is_before_it() -> None:
    help_text = run("deployment", "--help").output
    for option in options_of(ExecutorSpec):
        if Surface.CLI in option.surfaces:
            assert (f"{option.flag} " in help_text) == (option.name not in OF_A_GRAPH), option.name
    for option in options_of(FlowSpec):
        if Surface.CLI in option.surfaces and option.name in OF_THE_FRONT:
            assert f"{option.flag} " in help_text, option.name


def test_version() -> None:
    assert run("--version").output.startswith("zflow, version ")


def test_a_misspelled_command_or_option_names_the_nearest() -> None:
    assert "did you mean 'executor'?" in run("exekutor").output
    assert "--port-in" in run("executor", "--port-im", "3").output
    assert run("exekutor").exit_code == 2


def test_ping(address: str) -> None:
    result = run("ping", address)
    assert result.exit_code == 0
    assert "gateway (gateway, zflow/" in result.output and "serving" in result.output
    assert json.loads(run("ping", address, "--json").output)["state"] == "serving"


def test_ping_of_nobody() -> None:
    result = run("ping", "localhost:1", "--timeout", "200", "--attempts", "2")
    assert result.exit_code == 1
    assert "2/2:" in result.stderr and "nobody listens" in result.stderr


def test_a_gateway_alone_starts_no_executors(tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text("jtype: Flow\nexecutors:\n  - name: mine\n")
    result = run("gateway", "--uses", str(tmp_path / "flow.yml"))
    assert result.exit_code == 2
    assert "mine" in result.stderr and "external" in result.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = run("flow", "--uses", str(tmp_path / "absent.yml"))
    assert result.exit_code == 2
    assert "absent.yml" in result.stderr


def test_a_fault_on_the_command_line_says_where() -> None:
    result = run("executor", "--port-in", "70000")
    assert result.exit_code == 2
    assert "command line port_in: expected" in result.stderr


def test_keys_are_made_listed_and_taken_off_the_list(tmp_path: Path) -> None:
    server, robot = str(tmp_path / "server"), str(tmp_path / "robot")
    assert run("keygen", "--keys", server).exit_code == 0
    key = run("keygen", "--keys", robot).output.strip()
    assert run("keys", "allow", "robot", key, "/search", "--keys", server).exit_code == 0
    assert run("keys", "list", "--keys", server).output == f"robot {key} /search\n"
    assert run("keys", "revoke", "robot", "--keys", server).exit_code == 0
    assert run("keys", "list", "--keys", server).output == ""


def test_keys_are_not_overwritten_and_unknown_ones_are_told(tmp_path: Path) -> None:
    folder = str(tmp_path / "keys")
    run("keygen", "--keys", folder)
    for words, told in (
        (["keygen"], "exists already"),
        (["keys", "revoke", "robot"], "robot is not on the list"),
        (["keys", "allow", "robot", "short"], "has 40 characters, this has 5"),
    ):
        result = run(*words, "--keys", folder)
        assert (result.exit_code, told in result.output) == (2, True), result.output


def test_a_line_that_is_left_out_of_the_list_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    run("keygen", "--keys", str(folder))
    (folder / "allowed").write_text("thief short\n")
    result = run("keys", "list", "--keys", str(folder))
    assert result.exit_code == 2
    assert "allowed:1" in result.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("head", "--uses", "jtype: Deployment\nwith: {name: x}"), "a head alone starts no processes; say in peers"),
        (("head", "--uses", "jtype: Deployment\nwith: {peers: {x: 'y:1'}}"), "name: a head alone imports no class"),
        (("head", "--uses", "nowhere.yml"), "nowhere.yml"),
        (("head", "--uses", "x.yml", "--shards", "2"), "No such option"),
        (
            ("gateway", "--uses", "jtype: Flow\nexecutors: [{name: x}]"),
            "give x host, port_in and external: true",
        ),
        (("gateway", "--uses", "jtype: Flow\nwith: {peers: {y: 'z:1'}}"), "peers: nothing here is called 'y'"),
        (("flow", "--uses", "jtype: Flow", "--peers", "x=y:1"), "No such option"),
        (("executor", "--shard-id", "2", "--shards", "2"), "shard_id: there is no shard 2 of 2"),
        (("executor", "--shard-id", "one"), "one"),
    ],
)
def test_what_cannot_be_served_alone_is_refused(words: tuple[str, ...], told: str) -> None:
    done = run(*words)
    assert done.exit_code != 0
    assert told in done.stderr
