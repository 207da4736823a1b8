"""`zflow plot`: a picture of what a YAML file describes, without starting anything."""

from __future__ import annotations

from pathlib import Path

import click

from zflow.cli.words import mapping


@click.command(
    short_help="Draw a Flow or Deployment, as SVG or Mermaid.", epilog="Example: zflow plot flow.yml flow.svg"
)
@click.argument("file", metavar="FILE", type=click.Path())
@click.argument("picture", metavar="PICTURE", type=click.Path())
@click.option("--context", "values", multiple=True, metavar="KEY=VALUE|JSON", help="values for ${{ CONTEXT.key }}")
def plot(file: str, picture: str, values: tuple[str, ...]) -> None:
    """Draw the Flow or Deployment in a YAML FILE into PICTURE: .svg, or .mmd for Mermaid."""
    from zflow.config.deployment import is_deployment, load_deployment  # `--help` must be quick
    from zflow.config.yaml_file import load_flow
    from zflow.exports.picture import write_picture

    context = {key: value for words in values for key, value in mapping(words).items()}
    load = load_deployment if is_deployment(file, context=context) else load_flow
    write_picture(load(Path(file), context=context), picture)
    click.echo(picture, err=True)
