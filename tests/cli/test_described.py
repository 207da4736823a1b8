"""Commands that have the options of config/spec.py: made once, when they are needed, and read back as values."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
from click.testing import CliRunner

from zflow.cli.described import Described, given, of_a_deployment, of_a_flow, of_a_gateway, spec_options
from zflow.config.spec import ExecutorSpec, FlowSpec


def names(options: list[click.Option]) -> set[str]:
    return {str(option.name) for option in options}


def test_options_are_made_once_and_only_when_they_are_needed() -> None:
    made = []

    def described_by() -> list[click.Option]:
        made.append(1)
        return [click.Option(["--more"])]

    @click.command(cls=Described, described_by=described_by)
    @click.option("--own")
    def command(own: str, more: str) -> None:
        click.echo(f"{own} {more}")

    assert made == []
    for _ in range(2):
        assert CliRunner().invoke(command, ["--own", "a", "--more", "b"]).stdout == "a b\n"
    assert made == [1]


def test_an_option_is_spelled_and_explained_as_it_is_declared() -> None:
    [replicas] = spec_options(ExecutorSpec, only=("replicas",))
    assert (replicas.opts, replicas.metavar, replicas.multiple) == (["--replicas"], "N", False)
    assert replicas.help == "how many processes serve it, or each of its shards  [default: 1]"
    [port] = spec_options(FlowSpec, only=("port",))
    assert port.opts == ["--port", "--port-expose"]
    [quiet] = spec_options(FlowSpec, only=("quiet",))
    assert (quiet.is_flag, quiet.default) == (True, None)


def test_what_makes_no_sense_for_a_command_is_left_out() -> None:
    assert {"replicas", "port"} <= names(of_a_deployment())
    assert "needs" not in names(of_a_deployment())
    assert names(of_a_flow()) - names(of_a_gateway()) == {"reload", "restart"}


def test_given_has_only_what_was_given_as_values() -> None:
    words: dict[str, Any] = {"replicas": "3", "uses_with": ("a=1", "b=[2]"), "env": (), "name": None, "external": True}
    assert given(ExecutorSpec, words) == {"replicas": 3, "uses_with": {"a": 1, "b": [2]}, "external": True}


def test_the_list_of_commands_costs_no_room_but_this_one() -> None:
    code = "import sys, zflow.cli.commands as c; c.main(['--help'], standalone_mode=False); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(told.splitlines()[-1].split())
    ours = {name.split(".")[1] for name in loaded if name.startswith("zflow.")}
    assert ours == {"cli", "errors", "version"}
    assert not loaded & {"zmq", "msgpack", "yaml", "numpy", "asyncio", "subprocess"}
