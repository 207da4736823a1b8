"""What must be done so that a plan that runs becomes another one, and what may go on as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zflow.config.plan import GatewayPlan, HeadPlan, NodePlan, Plan, WorkerPlan

Workers = Sequence[WorkerPlan]


class Difference(NamedTuple):
    """Of two plans, by nodes, with the processes that they have in the new one.

    coming: those that are new. renewed: those whose processes are other ones. scaled: those with other numbers of the
    same. leaving: names of those that are there no more. in_front: whether the process that stands before them must be
    another one.
    """

    coming: dict[str, Workers]
    renewed: dict[str, Workers]
    scaled: dict[str, Workers]
    leaving: list[str]
    in_front: bool

    def __str__(self) -> str:
        parts = {
            "starting": [*self.coming],
            "restarting": [*self.renewed, *(["what is in front"] if self.in_front else [])],
            "scaling": [*self.scaled],
            "ending": self.leaving,
        }
        told = "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts.items() if names)
        return told or "nothing that runs is concerned"


def difference(before: Plan, after: Plan) -> Difference:
    """What leads from `before` to `after`."""
    old, new = _by_node(before), _by_node(after)
    common = [name for name in new if name in old]
    renewed = [name for name in common if not _are_alike(old[name], new[name])]
    scaled = [name for name in common if name not in renewed and _names(old[name]) != _names(new[name])]
    return Difference(
        coming={name: workers for name, workers in new.items() if name not in old},
        renewed={name: new[name] for name in renewed},
        scaled={name: new[name] for name in scaled},
        leaving=[name for name in old if name not in new],
        in_front=_in_front(before) != _in_front(after),
    )


def _by_node(plan: Plan) -> dict[str, list[WorkerPlan]]:
    nodes: dict[str, list[WorkerPlan]] = {}
    for worker in plan.workers:
        nodes.setdefault(worker.node, []).append(worker)
    return nodes


def _names(workers: Workers) -> list[str]:
    return [worker.name for worker in workers]


def _are_alike(old: Workers, new: Workers) -> bool:
    """Whether those that are in both are the same, but for how many there are."""
    by_name = {worker.name: _without_number(worker) for worker in old}
    return all(by_name[worker.name] == _without_number(worker) for worker in new if worker.name in by_name)


def _without_number(worker: WorkerPlan) -> WorkerPlan:
    return worker._replace(runtime_args={**worker.runtime_args, "replicas": 0})


def _in_front(plan: Plan) -> tuple[GatewayPlan | HeadPlan | None, list[NodePlan]]:
    """What the process in front is told when it starts; how many replicas there are, it is told at any time."""
    nodes = [_shape(node) for node in plan.nodes]
    front = plan.gateway
    if isinstance(front, GatewayPlan):
        front = front._replace(nodes=())
    elif front is not None:
        front = front._replace(node=nodes[0])
    return front, nodes


def _shape(node: NodePlan) -> NodePlan:
    return node._replace(replicas=tuple(replica for replica in node.replicas if replica.address is not None))
