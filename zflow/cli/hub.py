"""`zflow hub`: Executors to and from registries of containers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from zflow.cli.groups import Commands
from zflow.errors import ConfigError


@click.group(
    cls=Commands,
    short_help="Executors to and from a registry of containers.",
    epilog="Example: zflow hub push Shout hub://localhost:5000/me/shout:1.0",
)
def hub() -> None:
    """Hand Executors on by any registry of containers. Who we are to it, `docker login` has stored.

    A NAME is hub://registry/name:tag, or name@sha256:... in place of the tag; hub:// may be left out, and the registry
    where ZFLOW_HUB names one.
    """


@hub.command(short_help="Begin an Executor.", epilog="Example: zflow hub new Shout --dockerfile")
@click.argument("name")
@click.option("--dir", "--path", "folder", metavar="FOLDER", help="where they shall be  [default: a folder NAME here]")
@click.option("--dockerfile", is_flag=True, help="with a Dockerfile, to make an image of it")
def new(name: str, folder: str | None, dockerfile: bool) -> None:
    """Write executor.py, config.yml, requirements.txt, README.md and tests of an Executor class NAME.

    The same as `zflow new executor`, and what `zflow hub push` takes.
    """
    from zflow.cli.new import write  # each command pays for what it needs: `--help` must be quick

    write("executor", name, folder, dockerfile)


@hub.command(
    short_help="Push the Executor in a folder.",
    epilog="Example: zflow hub push Shout hub://localhost:5000/me/shout:1.0 --tag latest",
)
@click.argument("folder", type=click.Path())
@click.argument("name", required=False)
@click.option("--tag", "-t", "tags", multiple=True, metavar="TAG", help="another tag that shall mean it")
@click.option("--docker", "with_image", is_flag=True, help="and the image that its Dockerfile makes, for hub+docker://")
def push(folder: str, name: str | None, tags: Sequence[str], with_image: bool) -> None:
    """Push the Executor in FOLDER as NAME (default: what its config.yml calls it), and print its name with digest.

    All files are in it but hidden ones; the same files have the same digest.
    """
    from zflow.config.references import parse_reference
    from zflow.hub.archive import allowed
    from zflow.hub.contents import contents_of
    from zflow.hub.pushing import push

    reference = parse_reference(name or contents_of(Path(folder), allowed()).name)
    for tag in tags:
        parse_reference(f"{reference._replace(tag='')}:{tag}")  # raises for what is no tag
    pushed = push(Path(folder), reference, tags, with_image=with_image)
    state = "pushed" if pushed.new else "there already"
    click.echo(f"{state}: {pushed.files} files, {pushed.size / 1e6:.1f} MB", err=True)
    if pushed.image:
        click.echo(f"its image: hub+docker://{str(reference).partition('://')[2]} ({pushed.image})", err=True)
    click.echo(str(pushed.reference))


@hub.command(
    short_help="Fetch an Executor, and run nothing.",
    epilog="Example: zflow hub pull hub://localhost:5000/me/shout:1.0 --to shout",
)
@click.argument("name")
@click.option("--to", metavar="FOLDER", help="copy it there, to change it  [default: it stays where all of them are]")
def pull(name: str, to: str | None) -> None:
    """Fetch the Executor NAME, check it, and print the folder that it is in. Nothing of it is run."""
    from zflow.config.references import parse_reference
    from zflow.hub.fetching import copy_out, fetch

    package = fetch(parse_reference(name))
    click.echo(f"{'fetched' if package.came else 'here already'}: {package.digest}", err=True)
    if to is not None:
        copy_out(package, Path(to))
    click.echo(to or str(package.folder))


@hub.command(
    "list", short_help="Print what a registry has.", epilog="Example: zflow hub list hub://localhost:5000/me/shout"
)
@click.argument("name", required=False)
@click.option("--registry", default="", metavar="HOST", help="whose names to list  [default: that of ZFLOW_HUB]")
@click.option("--json", "as_json", is_flag=True, help="print JSON, for programs")
def list_them(name: str | None, registry: str, as_json: bool) -> None:
    """Print what a registry has; with NAME its tags, and what each of them means."""
    from zflow.config.references import parse_reference
    from zflow.hub.listing import names_in, versions_of

    if name is None:
        names = names_in(registry)
        return click.echo(json.dumps(names, indent=2) if as_json else "\n".join(names))
    if registry:
        raise ConfigError("--registry is for the names of a registry; a NAME says itself where it is")
    versions = [(tag, found) for tag, found in versions_of(parse_reference(name))]
    if as_json:
        told = [{"tag": tag, **(_as_map(found) if found else {"digest": None})} for tag, found in versions]
        return click.echo(json.dumps(told, indent=2))
    for tag, found in versions:
        text = f"{found.digest}  {found.about.description or found.about.name}" if found else "no Executor"
        click.echo(f"{tag}  {text}".rstrip())


@hub.command(
    short_help="Print what a name means, and what it requires.",
    epilog="Example: zflow hub status hub://localhost:5000/me/shout:1.0",
)
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="print JSON, for programs")
def status(name: str, as_json: bool) -> None:
    """Print what NAME is, whether it is here, what the lock file says of it, and what it requires."""
    from zflow.config.references import parse_reference
    from zflow.hub.listing import standing_of

    stands = standing_of(parse_reference(name), Path())
    if as_json:
        required = {line: installed or None for line, installed in stands.requirements}
        folder = str(stands.folder) if stands.folder else None
        more = {"folder": folder, "locked": stands.locked or None, "requirements": required}
        return click.echo(json.dumps({**_as_map(stands.found), **more}, indent=2))
    about, digest = stands.found.about, stands.found.digest
    lock = "not locked" if not stands.locked else "locked" if stands.locked == digest else f"locked: {stands.locked}"
    lines = [f"{about.name} ({about.jtype}): {about.description or 'it does not say what it is for'}"]
    lines += [f"  {digest}", f"  {about.files} files, {about.size / 1e6:.1f} MB", f"  {lock}"]
    lines += [f"  here: {stands.folder}" if stands.folder else "  not here: zflow hub pull fetches it"]
    lines += [f"  requires {line}: {installed or 'not installed'}" for line, installed in stands.requirements]
    click.echo("\n".join(lines))


@hub.command(short_help="Write down what names mean now, for good.", epilog="Example: zflow hub lock flow.yml")
@click.argument("sources", nargs=-1, required=True, metavar="FILE|NAME...")
@click.option("--context", "values", multiple=True, metavar="KEY=VALUE|JSON", help="values for ${{ CONTEXT.key }}")
def lock(sources: Sequence[str], values: Sequence[str]) -> None:
    """Write zflow.lock: what the hub:// names in YAML files, or these names, mean in the registry now.

    It lies beside FILE, or here. From then on they mean that, on every machine that has the lock file, until this
    command is given again.
    """
    from zflow.cli.words import mapping
    from zflow.hub.locking import lock

    context = {key: value for words in values for key, value in mapping(words).items()}
    for pin in lock(sources, context):
        change = "" if pin.before == pin.reference.digest else f"  (was {pin.before})" if pin.before else "  (new)"
        click.echo(f"{pin.path}: {pin.reference}{change}")


def _as_map(found: Any) -> dict[str, Any]:
    about = found.about._asdict()
    return {"digest": found.digest, **about, "requirements": list(about["requirements"])}
