"""`zflow export`: what a YAML file describes, as files for Compose, Kubernetes or systemd; nothing is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from zflow.cli.words import mapping
from zflow.errors import ConfigError

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])
_EACH = "[EXECUTOR=]"
_PATHS = (
    click.argument("file", metavar="FILE", type=click.Path()),
    click.option("--context", "values", multiple=True, metavar="KEY=VALUE|JSON", help="values for ${{ CONTEXT.key }}"),
    click.option("--keys", metavar="FOLDER", help="folder of keys that all processes have  [default: the file's]"),
)
_IMAGES = (
    click.option("--image", multiple=True, metavar=f"{_EACH}IMAGE", help="image that holds zflow and the Executors"),
    click.option("--gateway-image", metavar="IMAGE", help="image of the gateway or head, which holds zflow"),
    click.option("--gpus", multiple=True, metavar=f"{_EACH}N", help="how many GPUs each process of it gets"),
    click.option("--shm-size", metavar="SIZE", help="of /dev/shm in each container"),
    click.option("--no-gateway", is_flag=True, help="only the Executors of a Flow"),
)


def _with(*options: Callable[[AnyCommand], AnyCommand]) -> Callable[[AnyCommand], AnyCommand]:
    def decorate(command: AnyCommand) -> AnyCommand:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command(
    "docker-compose", epilog="Example: zflow export docker-compose flow.yml docker-compose.yml --image me/search:1"
)
@_with(*_PATHS)
@click.argument("output", metavar="OUTPUT", type=click.Path())
@_with(*_IMAGES)
@click.option("--network-name", "--network_name", metavar="NAME", help="of the network  [default: the project's own]")
@click.option("--user", metavar="UID:GID", help="as whom containers run  [default: 65532, or who owns the keys]")
@click.option("--not-internal", is_flag=True, help="Executors may reach other networks")
def docker_compose(file: str, output: str, not_internal: bool, **words: Any) -> None:
    """Write OUTPUT for `docker compose -f OUTPUT up`."""
    from zflow.exporting import to_docker_compose

    spec, options = _spec_and_options(file, words)
    to_docker_compose(spec, output, internal=not not_internal, **options)
    click.echo(output, err=True)


@click.command(epilog="Example: zflow export kubernetes flow.yml k8s --k8s-namespace search --image me/search:1")
@_with(*_PATHS)
@click.argument("output", metavar="FOLDER", type=click.Path())
@_with(*_IMAGES)
@click.option("--k8s-namespace", metavar="NAME", help="namespace to make and use  [default: kubectl's]")
@click.option("--cpu", multiple=True, metavar=f"{_EACH}QUANTITY", help="cores of each pod, such as 2 or 500m")
@click.option("--memory", multiple=True, metavar=f"{_EACH}QUANTITY", help="memory of each pod, such as 2Gi")
@click.option("--storage", metavar="QUANTITY", help="disk of each pod that has a workspace  [default: 1Gi]")
@click.option("--max-replicas", multiple=True, metavar=f"{_EACH}N", help="up to so many pods, as the load wants them")
@click.option("--no-network-policy", is_flag=True, help="anybody in the cluster may reach Executors")
@click.option("--env-secret", metavar="NAME", help="Secret of variables that look like secrets")
@click.option("--keys-secret", metavar="NAME", help="Secret of the keys  [default: zflow-keys]")
def kubernetes(file: str, output: str, no_network_policy: bool, **words: Any) -> None:
    """Write FOLDER for `kubectl apply -R -f FOLDER`; its NOTES.txt says what else there is to do."""
    from zflow.exporting import to_kubernetes

    spec, options = _spec_and_options(file, words)
    to_kubernetes(spec, output, network_policy=not no_network_policy, **options)
    click.echo(str(Path(output) / "NOTES.txt"), err=True)


@click.command(epilog="Example: zflow export systemd flow.yml units --folder /opt/search")
@_with(*_PATHS)
@click.argument("output", metavar="FOLDER", type=click.Path())
@click.option("--program", metavar="PATH", help="the zflow command of the board  [default: this one]")
@click.option("--folder", metavar="PATH", help="where the files of the Executors are there  [default: FILE's folder]")
@click.option("--first-port", type=int, metavar="PORT", help="of the processes behind the entrance, on loopback")
@click.option("--config", metavar="PATH", help="where the YAML that units read will be  [default: /etc/zflow]")
@click.option("--gpus", multiple=True, metavar=f"{_EACH}N", help="Executors that may see devices")
def systemd(file: str, output: str, folder: str | None, **words: Any) -> None:
    """Write units to FOLDER, for /etc/systemd/system; its NOTES.txt says what to do with them."""
    from zflow.exporting import to_systemd

    spec, options = _spec_and_options(file, words)
    to_systemd(spec, output, **{**options, **({"directory": folder} if folder else {})})
    click.echo(str(Path(output) / "NOTES.txt"), err=True)


def load_spec(file: str, values: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """The Flow or Deployment in `file`, and the context that it was read in. values: of ``${{ CONTEXT.key }}``."""
    from zflow.config.deployment import is_deployment, load_deployment
    from zflow.config.yaml_file import load_flow

    context = {key: value for text in values for key, value in mapping(text).items()}
    load = load_deployment if is_deployment(file, context=context) else load_flow
    return load(Path(file), context=context), context


def _spec_and_options(file: str, words: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The spec in `file`, and the options of its export that were really given."""
    from zflow.config.options import Surface
    from zflow.config.places import Place

    spec, _ = load_spec(file, words.pop("values"))
    if keys := words.pop("keys"):
        spec = spec.override(Place("command line"), Surface.CLI, keys=keys)
    options: dict[str, Any] = {"folder": Path(file).parent}
    if words.pop("no_gateway", False):
        options["include_gateway"] = False
    for name, value in words.items():
        if value not in (None, ()):
            options[name] = _each(name, value) if isinstance(value, tuple) else value
    return spec, options


def _each(name: str, texts: Sequence[str]) -> str | dict[str, str]:
    """One value for all Executors, or the values of some. Raises ConfigError where both are given."""
    named = dict(text.split("=", 1) for text in texts if "=" in text)
    if not named and len(texts) == 1:
        return texts[0]
    if len(named) != len(texts):
        flag = f"--{name.replace('_', '-')}"
        raise ConfigError(f"{flag}: give one value for all Executors, or EXECUTOR=VALUE for each of some")
    return named
