"""Groups of commands: a word that is none of theirs, and errors of zflow."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from zflow.cli.groups import Commands
from zflow.errors import AuthError, ConfigError, Unavailable


@click.group(cls=Commands)
def top() -> None:
    """The top."""


@top.group(cls=Commands)
def inner() -> None:
    """A group in a group."""


@inner.command()
@click.argument("which")
def fail(which: str) -> None:
    """Fail in one way."""
    raise {"config": ConfigError, "nobody": Unavailable, "keys": AuthError}[which]("as asked")


@pytest.mark.parametrize(("words", "nearest"), [(("iner",), "inner"), (("inner", "fial"), "fail")])
def test_a_misspelled_word_names_the_nearest_at_every_depth(words: tuple[str, ...], nearest: str) -> None:
    result = CliRunner().invoke(top, words)
    assert result.exit_code == 2
    assert f"no command {words[-1]!r}: did you mean {nearest!r}?" in result.output


def test_a_word_that_is_near_to_nothing_lists_what_there_is() -> None:
    assert "no command 'xyz': known: inner" in CliRunner().invoke(top, ["xyz"]).output


@pytest.mark.parametrize(("which", "code"), [("config", 2), ("nobody", 69), ("keys", 77)])
def test_an_error_of_zflow_is_told_and_becomes_its_exit_code(which: str, code: int) -> None:
    result = CliRunner().invoke(top, ["inner", "fail", which])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "Error: as asked\n")


def test_commands_stand_under_headings_and_none_is_left_out() -> None:
    group = Commands("top", headings={"Fetch": ("get",), "Empty": ("absent",), "Carry": ("put", "bear")})
    for name in ("bear", "get", "other", "put"):
        group.add_command(click.Command(name, help=f"What {name} does."))
    group.add_command(click.Command("secret", hidden=True))
    lines = CliRunner().invoke(group, ["--help"]).stdout.split("\n\n")[-3:]
    assert [[word.split() for word in part.splitlines()] for part in lines] == [
        [["Fetch:"], ["get", "What", "get", "does."]],
        [["Carry:"], ["put", "What", "put", "does."], ["bear", "What", "bear", "does."]],
        [["More", "commands:"], ["other", "What", "other", "does."]],
    ]


def test_a_group_without_headings_lists_its_commands() -> None:
    assert "\nCommands:\n  inner  A group in a group.\n" in CliRunner().invoke(top, ["--help"]).stdout


def test_no_sentence_is_cut_in_a_list() -> None:
    group = Commands("top")
    group.add_command(click.Command("long", help=f"{'word ' * 40}end. And more."))
    told = CliRunner().invoke(group, ["--help"]).stdout
    assert told.count("word") == 40 and "end" in told and "..." not in told.partition("Commands:")[2]
