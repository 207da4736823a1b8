"""`zflow client`: post Documents to any peer from the command line, and ask what it offers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from zflow.cli.groups import Commands
from zflow.cli.words import AnyCommand, mapping, ways


@click.group(
    cls=Commands,
    short_help="Post Documents to a peer, or ask what it offers.",
    epilog="Example: zflow client call localhost:12345 /search --text 'a question'",
)
def client() -> None:
    """Talk to a peer from the command line."""


def _asking(command: AnyCommand) -> AnyCommand:
    """What is asked, in the words of whoever asks."""
    options: Sequence[Callable[[AnyCommand], AnyCommand]] = (
        click.option("--target-executor", metavar="PATTERN", help="ask only Executors whose name matches"),
        click.option("--timeout", type=float, metavar="SECONDS", help="how long each request may take"),
        click.option("--request-size", default=100, show_default=True, type=int, help="Documents per request"),
        click.option("--parameters", multiple=True, metavar="KEY=VALUE|JSON", help="parameters of the request"),
        click.option("--json", "documents", metavar="JSON|@FILE|-", help="a Document or a list of them; - reads stdin"),
        click.option(
            "--text", "texts", multiple=True, metavar="TEXT", help="a Document with this text; may be repeated"
        ),
        ways,
        click.argument("endpoint", default="/"),
        click.argument("address", metavar="HOST:PORT"),
    )
    for option in options:
        command = option(command)
    return command


@client.command(epilog="Example: zflow client call localhost:12345 /search --text 'a question' --parameters top_k=3")
@_asking
def call(address: str, endpoint: str, **words: Any) -> None:
    """Post Documents to ENDPOINT and print the answer as JSON."""
    from zflow.client import Client  # each command pays for what it needs: `--help` must be quick

    inputs, options, keys = _read(words)
    with Client(address, **keys) as asking:
        responses = asking.post(endpoint, inputs, return_responses=True, results_in_order=True, **options)
    docs = [document for response in responses for document in response.docs.to_list()]
    results = [response.results for response in responses if response.results]
    click.echo(_as_json({"docs": docs, **({"results": results} if results else {})}, indent=2))


@client.command(epilog="Example: zflow client stream localhost:12345 /tell --text 'a story'")
@_asking
def stream(address: str, endpoint: str, **words: Any) -> None:
    """Post Documents to ENDPOINT and print what it yields as it is made, a line of JSON each; Ctrl-C stops it."""
    from zflow.client import Client

    inputs, options, keys = _read(words)
    with Client(address, **keys) as asking:
        for response in asking.stream(endpoint, inputs, return_responses=True, **options):
            for told in (*response.docs.to_list(), *([{"results": response.results}] if response.results else [])):
                click.echo(_as_json(told))


@client.command(epilog="Example: zflow client describe localhost:12345")
@click.argument("address", metavar="HOST:PORT")
@ways
@click.option(
    "--timeout", default=3000, show_default=True, metavar="MS", type=click.IntRange(1), help="how long to wait"
)
def describe(address: str, timeout: int, **keys: Any) -> None:
    """Print what a peer offers: the endpoints of an Executor, or the nodes of a Flow."""
    from zflow import probing
    from zflow.client import address_of, way_to

    where = address_of(address)
    click.echo(json.dumps(probing.describe(where, timeout / 1000, way_to(where, **keys)), indent=2))


def _read(words: dict[str, Any]) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """The inputs, the options of `post` and the keys that `words` mean."""
    keys = {name: words.pop(name) for name in ("keys", "server_key", "insecure")}
    parameters = {key: value for told in words.pop("parameters") for key, value in mapping(told).items()}
    inputs = [{"text": text} for text in words.pop("texts")] + _documents(words.pop("documents"))
    return inputs, {**words, "parameters": parameters}, keys


def _documents(source: str | None) -> list[Any]:
    if source is None:
        return []
    if source == "-":
        source = sys.stdin.read()
    elif source.startswith("@"):
        source = Path(source[1:]).read_text(encoding="utf-8")
    try:
        value = json.loads(source)
    except ValueError as error:
        raise click.BadParameter(f"--json: {error}") from None
    return value if isinstance(value, list) else [value]


def _as_json(told: Any, indent: int | None = None) -> str:
    return json.dumps(told, indent=indent, default=str)
