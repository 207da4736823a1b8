"""Where the processes of a Flow or Deployment run when somebody else has started them: an engine, or systemd.

Processes that can stand for each other, the replicas of one shard, are a group: ``encoder``, ``indexer/shard-0``,
``indexer/uses-before``. A gateway or head alone is told the addresses of each.
"""

from __future__ import annotations

from collections.abc import Sequence

from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError, nearest


def groups_of(spec: ExecutorSpec) -> list[str]:
    """The groups of processes that serve `spec`: in the order of its shards, then those around them."""
    return [*(group_of_shard(spec, shard) for shard in range(spec.shards)), *groups_around(spec)]


def group_of_shard(spec: ExecutorSpec, shard: int) -> str:
    """What the replicas of one shard are called together. Where there is one only, its number is not worth a name."""
    return f"{spec.name}/shard-{shard}" if spec.shards > 1 else spec.name


def groups_around(spec: ExecutorSpec) -> list[str]:
    """The groups before and after the shards, where there are any."""
    around = {"before": spec.uses_before, "after": spec.uses_after}
    return [f"{spec.name}/uses-{place}" for place, uses in around.items() if uses is not None]


def missing_peers(front: FlowSpec, executors: Sequence[ExecutorSpec]) -> list[str]:
    """The groups of `executors` of which peers says nothing. Raises ConfigError for peers that none of them has."""
    known = [group for executor in executors for group in groups_of(executor)]
    for group in front.peers:
        if group not in known:
            raise ConfigError(f"peers: nothing here is called {group!r:.80}: {nearest(group, known)}")
    return [group for group in known if group not in front.peers]


def refuse_peers(front: FlowSpec, command: str) -> None:
    """Raise ConfigError where processes would be started that run already. command: what would not."""
    if front.peers:
        raise ConfigError(
            f"peers: these processes run elsewhere, and would be started once more; use `zflow {command}`"
        )
