"""The commands that start, ask and change things, and the one that all commands stand under.

Options of Executors and Flows are those of config/spec.py (see described.py). Each command imports what it needs when
it runs: `zflow --help` must be quick.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zflow.cli.bundle import bundle
from zflow.cli.check import check
from zflow.cli.client import client
from zflow.cli.completion import completion
from zflow.cli.described import Described, given, of_a_deployment, of_a_flow, of_a_front, of_a_gateway, of_an_executor
from zflow.cli.doctor import doctor
from zflow.cli.errors import errors
from zflow.cli.export import export
from zflow.cli.groups import Commands
from zflow.cli.hub import hub
from zflow.cli.logs import logs
from zflow.cli.looking import status, top
from zflow.cli.new import new
from zflow.cli.plot import plot
from zflow.cli.words import KEYS_FOLDER, mapping, ways
from zflow.errors import ConfigError, Unavailable
from zflow.version import __version__

if TYPE_CHECKING:
    from zflow.config.deployment import DeploymentSpec
    from zflow.config.spec import FlowSpec

_folder = click.option(
    "--keys", "folder", default="", metavar="FOLDER", help=f"folder of keys  [default: {KEYS_FOLDER}]"
)


HEADINGS = {
    "Write": ("new", "check", "plot", "export", "bundle", "hub"),
    "Serve": ("flow", "deployment", "executor", "gateway", "head"),
    "Ask": ("client", "ping", "status", "top", "logs"),
    "Change what is served": ("scale", "rolling-update", "reload", "restart"),
    "Keys": ("keygen", "keys"),
    "Help": ("errors", "doctor", "completion"),
}


@click.group(
    cls=Commands,
    headings=HEADINGS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: zflow new flow hello",
)
@click.version_option(__version__, "-v", "--version", prog_name="zflow")
def main() -> None:
    """Serve Python functions as a graph of processes over ZeroMQ."""


@main.command(
    cls=Described,
    described_by=of_an_executor,
    short_help="Serve one Executor at a port of its own.",
    epilog="Example: zflow executor --uses my-exec.yml --port-in 12345 --replicas 2",
)
@click.option(
    "--keys", metavar="FOLDER", help="folder of keys: only who is on its list may call  [default: ZFLOW_KEYS]"
)
@click.option("--insecure", is_flag=True, help="bind an address other than loopback without keys")
@click.option(
    "--shard-id",
    type=int,
    metavar="N",
    help="of --shards: serve this one, in one process, and leave the head to others",
)
@click.option("--attended", metavar="SOCKET", hidden=True)
def executor(keys: str | None, insecure: bool, shard_id: int | None, attended: str | None, **words: Any) -> None:
    """Serve one Executor in the foreground; Flows and Clients tap it at its port.

    With --replicas, --shards, --uses-before, --uses-after, --reload or --restart, and where --uses is docker://IMAGE,
    it is served by processes of its own behind a head.
    """
    from zflow.config.definition import is_container
    from zflow.config.deployment import DeploymentSpec
    from zflow.config.options import Surface
    from zflow.config.places import Place
    from zflow.config.spec import ExecutorSpec, FlowSpec

    place, options = Place("command line"), given(ExecutorSpec, words)
    spec = ExecutorSpec.from_options(place, Surface.CLI, **options)
    if attended is not None:  # in a container that a Flow has started
        from zflow.processes.attended import serve_attended

        sys.exit(serve_attended(attended, spec.uses))
    if shard_id is None and (not spec.is_one_process or spec.reload or spec.restart or is_container(spec.uses)):
        front = {"insecure": insecure or None, "keys": keys}
        return _serve(DeploymentSpec.from_options(place, Surface.CLI, **options, **front))

    from zflow.config.plan import plan_standalone
    from zflow.processes.entry import serve_worker
    from zflow.processes.logs import take_over

    around = FlowSpec.from_options(place, Surface.CLI, keys=keys, insecure=insecure)
    plan = plan_standalone(spec, insecure=around.insecure, keys=around.keys, shard_id=shard_id)
    log = take_over(plan.name, plan.voice)
    if insecure and not plan.keys:
        log.warning("--insecure: whoever reaches %s may call it", plan.bind)
    sys.exit(serve_worker(plan, log=log))


@main.command(
    cls=Described,
    described_by=of_a_deployment,
    short_help="Serve an Executor, its replicas and shards.",
    epilog="Example: zflow deployment --uses deployment.yml --port 12345",
)
def deployment(**words: Any) -> None:
    """Start an Executor with its replicas and shards, and serve it behind a head until Ctrl-C or SIGTERM.

    --uses may be the YAML file of a Deployment, too; options given here win over the file's.
    """
    from zflow.config.definition import is_file
    from zflow.config.deployment import OF_THE_FRONT, DeploymentSpec, is_deployment, load_deployment
    from zflow.config.options import Surface
    from zflow.config.places import Place
    from zflow.config.spec import ExecutorSpec, FlowSpec

    place, uses = Place("command line"), words["uses"]
    options = {**given(ExecutorSpec, words), **given(FlowSpec, {name: words.get(name) for name in OF_THE_FRONT})}
    if uses is None or not is_file(uses) or not is_deployment(uses):
        return _serve(DeploymentSpec.from_options(place, Surface.CLI, **options))
    del options["uses"]
    from zflow.deployment import Deployment

    read = lambda: load_deployment(Path(uses)).override(place, Surface.CLI, **options)  # noqa: E731
    _run(Deployment._of(Path(uses), read))


def _serve(spec: DeploymentSpec) -> None:
    from zflow.deployment import Deployment

    _run(Deployment(spec))


def _run(service: Any) -> None:
    """Open a Flow or Deployment, and serve until Ctrl-C or SIGTERM. Systemd hears of it, see notifying.py."""
    from zflow.drivers.notifying import Notifier

    notifier = Notifier.of_environment()
    with service as opened:
        notifier.ready(f"serving at port {opened.port}")
        notifier.watch(lambda beat: beat())  # its processes are watched by itself
        opened.block()
        notifier.close()
        notifier.stopping()


@main.command(
    cls=Described,
    described_by=of_a_flow,
    short_help="Serve a Flow until Ctrl-C.",
    epilog="Example: zflow flow --uses flow.yml --port 12345",
)
@click.option("--uses", required=True, metavar="FILE", help="YAML file of the Flow")
def flow(uses: str, **words: Any) -> None:
    """Start a Flow and serve it until Ctrl-C or SIGTERM; options given here win over the file's."""
    from zflow.flow import Flow

    _run(Flow._of(Path(uses), lambda: _flow_spec(uses, words)))


@main.command(
    cls=Described,
    described_by=of_a_gateway,
    short_help="Serve only the gateway of a Flow.",
    epilog="Example: zflow gateway --uses flow.yml --port 12345",
)
@click.option("--uses", required=True, metavar="FILE|YAML", help="a Flow whose Executors are external or in its peers")
def gateway(uses: str, **words: Any) -> None:
    """Serve only the gateway of a Flow, in the foreground; what it asks must run already, where the Flow says."""
    from zflow.config.plan import plan_gateway
    from zflow.processes.entry import serve_gateway
    from zflow.processes.logs import take_over

    spec = _flow_spec(uses, words)
    plan = plan_gateway(spec)
    log = take_over(plan.name, plan.voice)
    if spec.insecure and not spec.keys:
        log.warning("--insecure: whoever reaches %s:%s may call it", spec.host, spec.port)
    sys.exit(serve_gateway(plan, log=log))


@main.command(
    cls=Described,
    described_by=of_a_front,
    short_help="Serve only the head of a Deployment.",
    epilog="Example: zflow head --uses deployment.yml --port 12345",
)
@click.option("--uses", required=True, metavar="FILE|YAML", help="a Deployment that has a name, and peers")
@click.option("--host", metavar="HOST", help="address to bind  [default: 127.0.0.1]")
def head(uses: str, **words: Any) -> None:
    """Serve only the head of a Deployment, in the foreground; its processes must run already, where its `peers` say."""
    from zflow.config.deployment import OF_LOGS, OF_THE_FRONT, load_deployment
    from zflow.config.options import Surface
    from zflow.config.places import Place
    from zflow.config.plan import plan_head
    from zflow.config.spec import FlowSpec
    from zflow.processes.entry import serve_head
    from zflow.processes.logs import take_over

    place, names = Place("command line"), (*OF_THE_FRONT, *OF_LOGS)
    options = given(FlowSpec, {name: words.get(name) for name in names})
    options |= {"host": words["host"]} if words["host"] else {}
    spec = load_deployment(_source(uses)).override(place, Surface.CLI, **options)
    plan = plan_head(spec)
    log = take_over(plan.name, plan.voice)
    if spec.front.insecure and not spec.front.keys:
        log.warning("--insecure: whoever reaches %s may call it", plan.bind)
    sys.exit(serve_head(plan, log=log))


@main.command(short_help="Ask whether a peer serves.", epilog="Example: zflow ping localhost:12345 --attempts 10")
@click.argument("address", metavar="HOST:PORT")
@ways
@click.option("--timeout", default=3000, show_default=True, metavar="MS", type=click.IntRange(1), help="per attempt")
@click.option("--attempts", default=1, show_default=True, type=click.IntRange(1), help="how often to ask")
@click.option("--min-successful-attempts", default=1, show_default=True, type=click.IntRange(1), help="for exit code 0")
@click.option("--json", "as_json", is_flag=True, help="print the whole status as JSON lines")
def ping(address: str, timeout: int, attempts: int, min_successful_attempts: int, as_json: bool, **keys: Any) -> None:
    """Ask a peer (Executor or gateway) whether it serves; exit code 0 when it answered often enough."""
    from zflow import probing
    from zflow.client import address_of, way_to

    where = address_of(address)
    way = way_to(where, **keys)
    successes = 0
    for attempt in range(attempts):
        began = time.monotonic()
        try:
            status = probing.ping(where, timeout / 1000, way)
        except Unavailable as error:
            click.echo(f"{attempt + 1}/{attempts}: {error}", err=True)
            continue
        successes += 1
        click.echo(json.dumps(status) if as_json else _shown(status, where))
        if attempt + 1 < attempts and successes < min_successful_attempts:
            time.sleep(max(0.0, min(1.0, timeout / 1000) - (time.monotonic() - began)))
        if successes >= min_successful_attempts:
            break
    sys.exit(0 if successes >= min_successful_attempts else 1)


@main.command(
    short_help="Have more or fewer processes serve an Executor.",
    epilog="Example: zflow scale localhost:12345 encoder --replicas 8",
)
@click.argument("address", metavar="HOST:PORT")
@click.argument("name", metavar="EXECUTOR")
@click.option("--replicas", required=True, metavar="N", type=int, help="how many processes shall serve it")
def scale(address: str, name: str, replicas: int) -> None:
    """Have more or fewer processes serve EXECUTOR of the Flow at HOST:PORT, which goes on serving meanwhile.

    For who has started the Flow, on the host where it runs.
    """
    _give_order(address, "scale", "to come or go", name=name, replicas=replicas)
    click.echo(f"{name} has {replicas} replica{'' if replicas == 1 else 's'} now", err=True)


@main.command(
    short_help="Replace its processes, one after another.",
    epilog="Example: zflow rolling-update localhost:12345 encoder --uses-with model=small-2",
)
@click.argument("address", metavar="HOST:PORT")
@click.argument("name", metavar="EXECUTOR")
@click.option("--uses-with", multiple=True, metavar="KEY=VALUE|JSON", help="arguments of its class that are others now")
def rolling_update(address: str, name: str, uses_with: Sequence[str]) -> None:
    """Replace the processes of EXECUTOR of the Flow at HOST:PORT one after another, while it goes on serving.

    For who has started the Flow, on the host where it runs.
    """
    arguments = {key: value for words in uses_with for key, value in mapping(words).items()}
    _give_order(address, "rolling_update", "to be renewed", name=name, uses_with=arguments)
    click.echo(f"{name} is renewed", err=True)


def _give_order(address: str, order: str, what: str, **arguments: Any) -> None:
    from zflow.banner import Waiting
    from zflow.client import address_of
    from zflow.processes.control_call import give_order

    host, _, port = address_of(address).removeprefix("tcp://").rpartition(":")
    waiting = Waiting(what)
    try:
        give_order(host.strip("[]"), int(port), order, waiting.show, **arguments)
    finally:
        waiting.clear()


@main.command(
    short_help="Make a key pair, and print the public key.",
    epilog="Example: zflow keygen --keys robot-keys",
)
@_folder
def keygen(folder: str) -> None:
    """Make a folder with a key pair and an empty list of whom to let in; print the public key, and nothing else.

    The other side lets in who has the key by `zflow keys allow NAME KEY`.
    """
    from zflow.config import keys
    from zflow.drivers.sockets import new_identity

    made = new_identity()
    keys.create(folder or keys.default_folder(), made)
    click.echo(made.public)


@main.group(
    cls=Commands,
    short_help="Let callers in, keep them out, list them.",
    epilog="Example: zflow keys list --keys robot-keys",
)
def keys() -> None:
    """The list of those who may call: read by whoever serves with the same folder, as soon as it changes."""


@keys.command(epilog="Example: zflow keys allow robot 'fh4Z:Zp.tA)oKy.c%aKae#wjMTU%DUImL(>w#wVN' /search '/status*'")
@click.argument("name")
@click.argument("key")
@click.argument("endpoints", nargs=-1, metavar="[ENDPOINT|PATTERN]...")
@_folder
def allow(name: str, key: str, endpoints: Sequence[str], folder: str) -> None:
    """Let in who has the public KEY, as NAME; with ENDPOINTs, to call only these. Put the KEY in single quotes."""
    from zflow.config import keys

    keys.allow(folder or keys.default_folder(), name, key, endpoints)


@keys.command(epilog="Example: zflow keys revoke robot")
@click.argument("name", metavar="NAME|KEY")
@_folder
def revoke(name: str, folder: str) -> None:
    """Let NAME in no more; connections that it has are heard no more from now on."""
    from zflow.config import keys

    keys.revoke(folder or keys.default_folder(), name)


@keys.command("list", epilog="Example: zflow keys list")
@_folder
def list_keys(folder: str) -> None:
    """Print whom the list lets in: name, public key, and endpoints where it is not all of them."""
    from zflow.config import keys

    allowed = keys.read_allowed(folder or keys.default_folder())
    for key, entry in allowed.entries.items():
        click.echo(" ".join((entry.name, key, *entry.endpoints)))
    for fault in allowed.faults:
        click.echo(f"left out: {fault}", err=True)
    sys.exit(ConfigError.exit_code if allowed.faults else 0)


def _flow_spec(uses: str, words: dict[str, Any]) -> FlowSpec:
    from zflow.config.options import Surface
    from zflow.config.places import Place
    from zflow.config.spec import FlowSpec
    from zflow.config.yaml_file import load_flow

    return load_flow(_source(uses)).override(Place("command line"), Surface.CLI, **given(FlowSpec, words))


def _source(uses: str) -> Path | str:
    """A file, or the YAML itself: who starts us elsewhere may have no file to give."""
    from zflow.config.definition import is_definition

    return uses if is_definition(uses) else Path(uses)


def _shown(status: dict[str, Any], where: str) -> str:
    told = f"{status['name']} ({status['role']}, {status['software']}) at {where}: {status['state']}"
    return f"{told}, {status['inflight']} in flight, {status['queued']} queued, {status['took'] * 1000:.1f} ms"


for _command in (new, check, plot, export, bundle, hub, client, status, top, logs, errors, doctor, completion):
    main.add_command(_command)
