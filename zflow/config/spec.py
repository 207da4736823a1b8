"""What a user asks for: every option of a Flow and of its Executors, once, with default, check and help text.

A spec is a value: `add` and its siblings return a new one. `given` holds what was really given, which is all that is
saved; the other fields hold what follows from it (names, needs, what an Executor inherits from its Flow).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from zflow.config.container_options import DOCKER_KWARGS, ENTRYPOINT, GPUS, VOLUMES
from zflow.config.cores import CPUS, Cpus
from zflow.config.definition import Definition
from zflow.config.executor_kinds import (
    ARGUMENTS,
    BATCHING,
    FOLDER,
    METAS,
    MODULES,
    REQUESTS,
    SERVER_KEY,
    USES,
    WHEN,
)
from zflow.config.external import check_addresses, check_containers
from zflow.config.kinds import (
    FLAG,
    FOR_EVER,
    HOST,
    HOSTS,
    MILLISECONDS,
    NAME,
    NEEDS,
    PEERS,
    PORT,
    TEXT,
    VARIABLES,
    one_of,
    split_host,
    whole,
)
from zflow.config.log_config import LOG_CONFIG
from zflow.config.options import IN_FLOWS, Option, Surface, collect, option, options_of
from zflow.config.places import Place
from zflow.config.polling import POLLING, Polling
from zflow.errors import ConfigError, TopologyError, nearest
from zflow.executor import Executor
from zflow.topology import FAIL, GATEWAY, SKIP, Node, Topology, faults_of

__all__ = ["ExecutorSpec", "FlowSpec", "Option", "Surface", "options_of"]

MAX_SHARDS = 256
_HERE = Place()  # an option's own name says enough where Python gave it
_WARM = one_of("warm", "spawn")
_PERIOD = whole(1, (1 << 31) - 1, metavar="MS")
_LATE = one_of(FAIL, SKIP)


@dataclass(frozen=True)
class ExecutorSpec:
    """One Executor: the options of `add`. `uses` is in the form that definition.py gives it."""

    name: str = option(
        NAME, "", "name in the Flow: letters, digits and underscores (default: executor and its position)"
    )
    uses: type[Executor] | str | Definition | None = option(
        USES,
        None,
        "class, its name, module:Class, file.py:Class, YAML file, hub://name, docker://image or definition (default: "
        "documents pass through)",
    )
    uses_with: dict[str, Any] = option(ARGUMENTS, {}, "arguments of __init__; win over `with` in YAML, key by key")
    uses_metas: dict[str, Any] = option(METAS, {}, "name, description, workspace, py_modules; win over `metas` in YAML")
    uses_requests: dict[str, str] = option(REQUESTS, {}, "endpoint -> method; win over `requests` in YAML")
    uses_dynamic_batching: dict[str, dict[str, Any]] = option(
        BATCHING,
        {},
        "endpoint or method -> preferred_batch_size, timeout (ms), flush_all: run waiting requests as one; wins over "
        "`dynamic_batching` in YAML and over the decorator",
    )
    py_modules: tuple[str, ...] = option(MODULES, (), "files or modules to import before the class is looked up")
    workspace: str = option(FOLDER, "", "folder in which each Executor has its own", inherited=True)
    needs: tuple[str, ...] = option(
        NEEDS,
        (),
        f"what it waits for: names, or {GATEWAY!r} for the caller's input (default: the Executor added before)",
        surfaces=IN_FLOWS,
    )
    when: dict[str, Any] = option(
        WHEN,
        {},
        "condition, as for DocumentArray.find: only documents that meet it are given to it and go on from it",
        surfaces=IN_FLOWS,
    )
    floating: bool = option(
        FLAG, False, "nobody waits for it: neither the reply nor the next Executor that is added", surfaces=IN_FLOWS
    )
    quorum: int | None = option(
        whole(1, 1024),
        None,
        "of a join: how many of its needs are enough; the others are given up (default: all)",
        surfaces=IN_FLOWS,
    )
    within: int | None = option(
        _PERIOD,
        None,
        "of a join: how long it waits for more, once one of its needs has ended and there is a quorum (or one)",
        unit="ms",
        surfaces=IN_FLOWS,
    )
    host: str | tuple[str, ...] = option(
        HOSTS, "127.0.0.1", "address to bind; of an external Executor, where it is: host, host:port or a list of them"
    )
    port_in: int | None = option(
        PORT,
        None,
        "port to bind (0: the system chooses; default: no port, only this Flow); of an external one, its own",
    )
    server_key: str | tuple[str, ...] = option(
        SERVER_KEY,
        "",
        "of an external Executor: the public key by which it is known, or one for each of its hosts",
        surfaces=IN_FLOWS,
    )
    external: bool = option(FLAG, False, "it runs already: connect, never start or stop it", surfaces=IN_FLOWS)
    replicas: int = option(whole(1, 1024), 1, "how many processes serve it, or each of its shards")
    shards: int = option(whole(1, MAX_SHARDS), 1, "how many parts it has, each with data and processes of its own")
    polling: Polling | None = option(
        POLLING, None, "ask ANY one shard or ALL, also by endpoint (default: /search=ALL, others ANY)"
    )
    uses_before: type[Executor] | str | Definition | None = option(
        USES, None, "an Executor that each request passes before it goes to the shards"
    )
    uses_after: type[Executor] | str | Definition | None = option(
        USES, None, "an Executor that gets what the shards made, as its docs_matrix, and makes the answer of it"
    )
    allow_partial: bool = option(FLAG, False, "answer without the shards that fail, and name them")
    max_concurrency: int = option(
        whole(1, 65_536), 64, "how many calls of its async def methods run at once in one process", unit="calls"
    )
    env: dict[str, str] = option(VARIABLES, {}, "environment variables of its processes", inherited=True)
    cpus: Cpus | None = option(
        CPUS,
        None,
        "keep its processes on cores: how many each of them gets in turn, or a list for all of them (0-3, or 0-1,4)",
    )
    timeout_ready: int = option(
        MILLISECONDS,
        600_000,
        "how long a process may take to become ready; -1 for ever",
        unit="ms",
        variable="ZFLOW_TIMEOUT_READY",
        inherited=True,
    )
    timeout_send: int | None = option(
        MILLISECONDS, None, "how long one call to it may take (default: as long as the request has)", unit="ms"
    )
    on_timeout: str = option(
        _LATE,
        FAIL,
        "when a call takes longer than timeout_send: fail the request, or skip it, as if it had made no documents",
        surfaces=IN_FLOWS,
    )
    retries: int | None = option(
        whole(0, 100), None, "how often a call that failed for want of a peer is repeated (default: while it is safe)"
    )
    queue_bytes: int | None = option(
        whole(1, 1 << 40), None, "how many bytes may wait for it, and be with it (default: 1 GiB in all)"
    )
    idempotent: bool = option(FLAG, False, "every endpoint may run more than once for one request")
    no_reduce: bool = option(
        FLAG,
        False,
        "with several needs: append their documents instead of merging them by id",
        aliases=("disable_reduce",),
        surfaces=IN_FLOWS,
    )
    quiet: bool = option(FLAG, False, "log nothing", inherited=True)
    quiet_error: bool = option(FLAG, False, "log exceptions of its methods without traceback", inherited=True)
    log_config: str | dict[str, Any] = option(
        LOG_CONFIG,
        "plain",
        "plain, json, a YAML file, or a map with some of format, level, levels, file, max_size, keep, stderr",
        variable="ZFLOW_LOG_CONFIG",
        inherited=True,
    )
    install_requirements: bool = option(
        FLAG, False, "install requirements.txt, beside its YAML file or of its package, for its processes alone"
    )
    start_method: str = option(
        _WARM,
        "warm",
        "fork its processes from a warm parent, or spawn fresh interpreters",
        variable="ZFLOW_START_METHOD",
        inherited=True,
    )
    reload: bool = option(
        FLAG, False, "renew its processes when Python files that it is made of change: for development", inherited=True
    )
    restart: bool = option(
        FLAG, False, "renew its processes when the YAML file that it is described in changes", inherited=True
    )
    volumes: tuple[str, ...] = option(
        VOLUMES, (), "of a container: folders of this machine that it sees, such as ./data:/data or ./data:/data:ro"
    )
    gpus: str = option(GPUS, "", "of a container: the GPUs that it sees: all, how many, or device=0,1")
    entrypoint: tuple[str, ...] = option(ENTRYPOINT, (), "of a container: what starts zflow in it (default: zflow)")
    docker_kwargs: dict[str, Any] = option(
        DOCKER_KWARGS, {}, "of a container: options of `docker run`, such as network=bridge or memory=2g"
    )
    description: str = option(TEXT, "", "what it is for")
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_options(cls, place: Place = _HERE, surface: Surface = Surface.PYTHON, /, **options: Any) -> ExecutorSpec:
        """A spec of these options. Raises ConfigError, that begins with `place`, for a wrong one."""
        given, values = collect(cls, options, place, surface)
        spec = cls(**values, given=given)
        check_addresses(spec, place)
        check_containers(spec, place)
        if spec.on_timeout == SKIP and spec.timeout_send in (None, FOR_EVER):
            raise place.down("on_timeout").fault("without timeout_send no call takes too long; give timeout_send in ms")
        return spec

    @property
    def is_scaled(self) -> bool:
        """Whether several processes of ours serve it."""
        return self.shards > 1 or self.replicas > 1

    @property
    def is_one_process(self) -> bool:
        """Whether nobody needs to spread requests over several processes."""
        return not self.is_scaled and self.uses_before is None and self.uses_after is None

    @property
    def addresses(self) -> tuple[str, ...]:
        """``host:port`` of each replica of an external Executor; empty for one that the Flow starts."""
        if not self.external:
            return ()
        hosts = (self.host,) if isinstance(self.host, str) else self.host
        pairs = [(host, port or self.port_in) for host, port in map(split_host, hosts)]
        return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in pairs)


@dataclass(frozen=True)
class FlowSpec:
    """A Flow: its own options, and its Executors with names, needs and inherited options filled in."""

    name: str = option(TEXT, "Flow", "what log lines call it")
    port: int | None = option(
        PORT, None, "port of the gateway (default, and 0: the system chooses)", aliases=("port_expose",)
    )
    host: str = option(HOST, "127.0.0.1", "address that the gateway binds")
    workspace: str = option(FOLDER, "", "folder in which each Executor has its own")
    quiet: bool = option(FLAG, False, "log nothing")
    quiet_error: bool = option(FLAG, False, "log exceptions of Executors without traceback")
    log_config: str | dict[str, Any] = option(
        LOG_CONFIG,
        "plain",
        "plain, json, a YAML file, or a map with some of format, level, levels, file, max_size, keep, stderr",
        variable="ZFLOW_LOG_CONFIG",
    )
    env: dict[str, str] = option(VARIABLES, {}, "environment variables of all processes")
    timeout_ready: int = option(
        MILLISECONDS,
        600_000,
        "how long a process may take to become ready; -1 for ever",
        unit="ms",
        variable="ZFLOW_TIMEOUT_READY",
    )
    start_method: str = option(_WARM, "warm", "fork from a warm parent, or spawn", variable="ZFLOW_START_METHOD")
    reload: bool = option(FLAG, False, "renew Executors when Python files that they are made of change")
    restart: bool = option(FLAG, False, "renew what has changed in the YAML files of the Flow and its Executors")
    asyncio: bool = option(FLAG, False, "post and its siblings are for async for and await", surfaces=IN_FLOWS)
    prefetch: int = option(
        whole(1, 1_000_000), 64, "how many requests of one post may be on their way", unit="requests"
    )
    keys: str = option(
        FOLDER,
        "",
        "folder of keys, as `zflow keygen` makes it: only who is on its list may call, and it is who we are to others",
        variable="ZFLOW_KEYS",
    )
    insecure: bool = option(FLAG, False, "bind, or connect to, an address other than loopback without keys")
    peers: dict[str, list[str]] = option(
        PEERS,
        {},
        "of a gateway or head alone: where the processes run that it asks, such as encoder: [HOST:PORT] or "
        "indexer/shard-0: [HOST:PORT]; a name that stands for several addresses is several replicas",
        surfaces=IN_FLOWS,
    )
    description: str = option(TEXT, "", "what it is for")
    executors: tuple[ExecutorSpec, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def from_options(cls, place: Place = _HERE, surface: Surface = Surface.PYTHON, /, **options: Any) -> FlowSpec:
        """A Flow of these options without Executors. Raises ConfigError for a wrong one."""
        given, values = collect(cls, options, place, surface)
        return cls(**values, given=given)

    def override(self, place: Place = _HERE, surface: Surface = Surface.PYTHON, /, **options: Any) -> FlowSpec:
        """This Flow with other options of its own; its Executors inherit from these. Raises ConfigError."""
        given, _ = collect(FlowSpec, options, place, surface)
        spec = FlowSpec.from_options(**{**self.given, **given})
        for executor in self.executors:
            spec = spec.add(**executor.given)
        return spec

    def change(self, name: str, /, **options: Any) -> FlowSpec:
        """This Flow with other options of its Executor `name`. Raises ConfigError."""
        names = [executor.name for executor in self.executors]
        if name not in names:
            raise ConfigError(f"there is no Executor {name!r:.80} in this Flow: {nearest(name, names)}")
        spec = replace(self, executors=())
        for executor in self.executors:
            spec = spec.add(**{**executor.given, **(options if executor.name == name else {})})
        return spec

    def add(self, place: Place = _HERE, surface: Surface = Surface.PYTHON, /, **options: Any) -> FlowSpec:
        """This Flow with one Executor more; without `needs` it follows the one added before that is not floating.

        Raises ConfigError for a wrong option. The graph as a whole is checked by `topology`.
        """
        executor = ExecutorSpec.from_options(place, surface, **options)
        if executor.port_in and not executor.is_one_process:
            several = "uses_before and uses_after" if executor.shards == executor.replicas == 1 else "replicas"
            several = "shards" if executor.shards > 1 else several
            raise place.down("port_in").fault(f"{several} cannot share one port; leave port_in out")
        previous = next((before.name for before in reversed(self.executors) if not before.floating), GATEWAY)
        filled = replace(
            executor,
            name=executor.name or self._free_name("executor", len(self.executors)),
            needs=executor.needs or (previous,),
            **self._inherited_by(executor),
        )
        return replace(self, executors=(*self.executors, filled))

    def needs(
        self,
        needs: str | Sequence[str],
        place: Place = _HERE,
        surface: Surface = Surface.PYTHON,
        /,
        **options: Any,
    ) -> FlowSpec:
        """This Flow with an Executor that joins at least two others; it is named ``joiner`` unless told otherwise."""
        if isinstance(needs, str) or len(needs) < 2:
            told = f"a join needs at least two Executors, got {needs!r:.80}"
            raise place.fault(f"{told}; to follow one, use add(needs=...)", TopologyError)
        named = {"name": self._free_name("joiner"), **options}
        return self.add(place, surface, **named, needs=needs)

    def needs_all(self, place: Place = _HERE, surface: Surface = Surface.PYTHON, /, **options: Any) -> FlowSpec:
        """This Flow with an Executor that joins every one that nothing needs yet, floating ones aside."""
        awaited = [executor for executor in self.executors if not executor.floating]
        needed = {name for executor in awaited for name in executor.needs}
        loose = [executor.name for executor in awaited if executor.name not in needed]
        if not loose:
            raise place.fault("there is no Executor to join yet; add some first", TopologyError)
        if options.pop("needs", None) is not None:
            raise place.down("needs").fault("needs_all joins every Executor that is loose; leave needs out")
        named = {"name": self._free_name("joiner"), **options}
        return self.add(place, surface, **named, needs=loose)

    def topology(self) -> Topology:
        """The checked graph. Raises TopologyError for unknown, duplicate or circular names."""
        return Topology([_node(executor) for executor in self.executors])

    def graph_faults(self) -> Iterator[tuple[int, TopologyError]]:
        """Which Executors, by their index, keep this from being a graph, and why; circles aside."""
        return faults_of([_node(executor) for executor in self.executors])

    def _free_name(self, stem: str, number: int | None = None) -> str:
        """`stem` and `number`, or the next number that is free."""
        taken = {executor.name for executor in self.executors}
        name = stem if number is None else f"{stem}{number}"
        while name in taken:
            number = 1 if number is None else number + 1
            name = f"{stem}{number}"
        return name

    def _inherited_by(self, executor: ExecutorSpec) -> dict[str, Any]:
        names = [item.name for item in options_of(ExecutorSpec) if item.inherited and item.name not in executor.given]
        inherited = {name: getattr(self, name) for name in names}
        return {**inherited, "env": {**self.env, **executor.env}}


def _node(executor: ExecutorSpec) -> Node:
    from zflow.wire.conditions import encode_condition  # as in executor_kinds

    return Node(
        executor.name,
        executor.needs,
        executor.no_reduce,
        floating=executor.floating,
        when=encode_condition(executor.when) if executor.when else b"",
        on_timeout=executor.on_timeout,
        quorum=executor.quorum or 0,
        within=None if executor.within is None else executor.within / 1000,
    )
