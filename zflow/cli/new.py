"""`zflow new`: the files of an Executor or a Flow to begin with."""

from __future__ import annotations

import click

from zflow.cli.groups import Commands


@click.group(
    cls=Commands,
    short_help="Begin an Executor or a Flow, with tests that pass.",
    epilog="Example: zflow new executor MyExecutor",
)
def new() -> None:
    """Write the files of a new Executor or Flow, which run and pass their tests as they are."""


_folder = click.option("--dir", "folder", metavar="FOLDER", help="where they shall be  [default: a folder NAME here]")


@new.command(
    short_help="Begin an Executor.", epilog="Example: zflow new executor MyExecutor --dir my-executor --dockerfile"
)
@click.argument("name")
@_folder
@click.option("--dockerfile", is_flag=True, help="with a Dockerfile, to make an image of it")
def executor(name: str, folder: str | None, dockerfile: bool) -> None:
    """Write executor.py, config.yml, requirements.txt, README.md and tests of an Executor class NAME.

    Files that are there already stay as they are: then nothing is written.
    """
    write("executor", name, folder, dockerfile)


@new.command(short_help="Begin a Flow with one Executor.", epilog="Example: zflow new flow Search")
@click.argument("name")
@_folder
@click.option("--dockerfile", is_flag=True, help="with a Dockerfile for its Executor")
def flow(name: str, folder: str | None, dockerfile: bool) -> None:
    """Write flow.yml and its test, and beside them an Executor in a folder of its own.

    Files that are there already stay as they are: then nothing is written.
    """
    write("flow", name, folder, dockerfile)


def write(kind: str, name: str, folder: str | None, dockerfile: bool) -> None:
    """Write the files, and print which ones and what to do next."""
    from zflow.scaffold import new  # each command pays for what it needs: `--help` must be quick

    made = new(kind, name, folder, dockerfile=dockerfile)
    for path in made.files:
        click.echo(str(made.folder / path), err=True)
    click.echo("\nNext:", err=True)
    width = max(len(command) for command, _ in made.next_steps)
    for command, purpose in made.next_steps:
        click.echo(f"  {command:<{width}}  # {purpose}" if purpose else f"  {command}")
