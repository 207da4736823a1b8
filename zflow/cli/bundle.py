"""`zflow bundle`: a Flow as one archive for a machine without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


@click.command(
    short_help="Pack a Flow for a machine without a network.",
    epilog="Example: zflow bundle flow.yml search.tar.gz --python 3.11 --platform manylinux_2_28_aarch64",
)
@click.argument("file", metavar="FILE", type=click.Path())
@click.argument("archive", metavar="ARCHIVE", type=click.Path())
@click.option("--context", "values", multiple=True, metavar="KEY=VALUE|JSON", help="values for ${{ CONTEXT.key }}")
@click.option("--folder", metavar="PATH", default="", help="where it will be on that machine  [default: /opt/NAME]")
@click.option("--python", metavar="VERSION", default="", help="its Python, such as 3.11  [default: this one's]")
@click.option("--platform", multiple=True, metavar="TAG", help="of its wheels  [default: this machine's]")
@click.option("--require", multiple=True, metavar="REQUIREMENT", help="what Executors import, as pip has it")
@click.option("--requirements", "with_requirements", is_flag=True, help="also what requirements.txt of Executors say")
@click.option("--leave-out", multiple=True, metavar="PATTERN", help="files and folders that are not packed")
@click.option("--keys", metavar="PATH", default="", help="folder of its keys  [default: /etc/zflow/NAME-keys, if any]")
@click.option("--first-port", type=int, metavar="PORT", help="of the processes behind the entrance, on loopback")
def bundle(file: str, archive: str, values: Sequence[str], first_port: int | None, **words: Any) -> None:
    """Pack what the YAML FILE describes, its folder, wheels, units of systemd and a script into ARCHIVE (.tar.gz).

    There: tar xf ARCHIVE && sudo sh NAME/install.sh --start
    """
    from zflow.bundling import Wishes
    from zflow.bundling import bundle as pack
    from zflow.cli.exporting import load_spec
    from zflow.exports.systemd import FIRST_PORT
    from zflow.processes.wheels import Machine

    machine = Machine(words.pop("python"), words.pop("platform"))
    wishes = Wishes(machine=machine, first_port=first_port or FIRST_PORT, **words)
    spec, context = load_spec(file, values)
    made = pack(spec, Path(file), Path(archive), wishes, context)
    for told in made.left_out:
        click.echo(f"not packed: {told}", err=True)
    size = made.path.stat().st_size / 1e6
    click.echo(f"{len(made.files)} files, {len(made.wheels)} wheels, {size:.1f} MB", err=True)
    click.echo(f"{made.digest}  {archive}")
