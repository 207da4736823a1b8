"""What a picture of a Flow shows: boxes, arrows between them, and in which column and row each box stands.

Columns follow the graph: each box stands behind all that it waits for. Within a column the order is that of the boxes
before it, so that few arrows cross. An arrow over several columns keeps a row free in each of them: it passes no box.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zflow.config.definition import Uses
from zflow.config.deployment import DeploymentSpec
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.topology import GATEWAY, SKIP

REPLY = "reply"
_LONGEST_LINE = 36


@dataclass(frozen=True)
class Box:
    """One Executor, or the entrance or the exit. lines: what stands below its name."""

    name: str
    lines: tuple[str, ...] = ()
    is_external: bool = False
    is_end: bool = False
    copies: int = 1


_ENTRANCE, _EXIT = Box(GATEWAY, is_end=True), Box(REPLY, is_end=True)


@dataclass(frozen=True)
class Arrow:
    """Documents go from one box to another. is_loose: nobody waits for what comes of it, or it may be left out."""

    start: str
    end: str
    is_loose: bool = False


@dataclass(frozen=True)
class Drawing:
    """title: whose it is. boxes: in an order in which each stands behind those it waits for."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    columns: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        columns: dict[str, int] = {}
        for box in self.boxes:
            before = [columns[arrow.start] for arrow in self.arrows if arrow.end == box.name]
            columns[box.name] = max(before, default=-1) + 1
        if REPLY in columns:
            columns[REPLY] = max([*columns.values(), columns[REPLY]])
        object.__setattr__(self, "columns", columns)


def drawing_of(spec: FlowSpec | DeploymentSpec) -> Drawing:
    """The boxes and arrows of a Flow or a Deployment."""
    if isinstance(spec, DeploymentSpec):
        only = _box(spec.executor, spec.name or "executor")
        return Drawing(spec.name, (_ENTRANCE, only, _EXIT), (Arrow(GATEWAY, only.name), Arrow(only.name, REPLY)))
    topology = spec.topology()
    described = {executor.name: executor for executor in spec.executors}
    middle = [_box(described[node.name], node.name) for node in topology.in_order]
    may_be_missing = {name for name, executor in described.items() if executor.on_timeout == SKIP}
    arrows = [
        Arrow(need, node.name, node.floating or need in may_be_missing)
        for node in topology.in_order
        for need in node.needs
    ]
    return Drawing(spec.name, (_ENTRANCE, *middle, _EXIT), (*arrows, Arrow(topology.last, REPLY)))


def rows_of(drawing: Drawing) -> list[list[str | Arrow]]:
    """What stands in each column, from top to bottom: boxes, and the arrows that pass between them."""
    count = max(drawing.columns.values()) + 1
    columns: list[list[str | Arrow]] = [[] for _ in range(count)]
    for box in drawing.boxes:
        columns[drawing.columns[box.name]].append(box.name)
    for arrow in drawing.arrows:
        for column in range(drawing.columns[arrow.start] + 1, drawing.columns[arrow.end]):
            columns[column].append(arrow)
    for column in range(1, count):
        places = {item: row for row, item in enumerate(columns[column - 1])}
        columns[column].sort(key=lambda item: _middle([places[before] for before in _before(drawing, item, places)]))
    return columns


def _before(drawing: Drawing, item: str | Arrow, places: Mapping[str | Arrow, int]) -> list[str | Arrow]:
    """What stands in the column before and leads to `item`."""
    if isinstance(item, Arrow):
        return [item] if item in places else [item.start]
    led = [arrow for arrow in drawing.arrows if arrow.end == item]
    return [arrow if arrow in places else arrow.start for arrow in led if arrow in places or arrow.start in places]


def _middle(rows: Sequence[int]) -> float:
    return sum(rows) / len(rows) if rows else 0.0


# -- what stands in a box


def _box(executor: ExecutorSpec, name: str) -> Box:
    lines = [_uses(executor.uses), *_where(executor), *_scale(executor), *_conditions(executor)]
    copies = max(executor.replicas * executor.shards, len(executor.addresses))
    return Box(name, tuple(_shortened(line) for line in lines if line), executor.external, copies=copies)


def _uses(uses: Uses) -> str:
    if uses is None:
        return ""
    if isinstance(uses, type):
        return uses.__name__
    return Path(uses).name if isinstance(uses, str) else str(uses.get("jtype", ""))


def _where(executor: ExecutorSpec) -> list[str]:
    if executor.external:
        return list(executor.addresses)
    return [f"port {executor.port_in}"] if executor.port_in else []


def _scale(executor: ExecutorSpec) -> list[str]:
    told = []
    if executor.shards > 1:
        told.append(f"{executor.shards} shards")
    if executor.replicas > 1:
        told.append(f"{executor.replicas} replicas")
    around = [
        f"{label} {_uses(uses)}"
        for label, uses in (("before:", executor.uses_before), ("after:", executor.uses_after))
        if uses is not None
    ]
    return [" × ".join(told), *around]


def _conditions(executor: ExecutorSpec) -> list[str]:
    told = [f"when {executor.when}"] if executor.when else []
    if executor.floating:
        told.append("floating")
    if executor.quorum:
        told.append(f"quorum {executor.quorum} of {len(executor.needs)}")
    if executor.within is not None:
        told.append(f"within {executor.within} ms")
    if executor.on_timeout == SKIP:
        told.append(f"skipped after {executor.timeout_send} ms")
    return told


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"
