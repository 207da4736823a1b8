"""The graph of a Flow as text: a line for each Executor, each below those that it needs.

::

    ○    gateway  127.0.0.1, port 12345
    ├─╮
    ● │  encoder  Encoder, 2 shards x 3 replicas  /index /search
    │ ●  tagger   Tagger                          /default
    ├─╯
    ●    joined   passes documents through        needs encoder, tagger
    ○    reply

A lane stands for what waits for an Executor's documents, and ends where it gets them. ◆ runs elsewhere; nobody waits
for ○.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from zflow.config.definition import is_container
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.topology import GATEWAY, Topology

_REPLY = "reply"
Row = tuple[str, tuple[str, ...]]  # what is drawn, and the cells beside it

_PLAIN = str.maketrans("○●◆│─├┬┴╮╯┼", "o*@|-++++++")


class Served(NamedTuple):
    """What is known of the class of an Executor: its name and its endpoints."""

    name: str
    endpoints: Sequence[str] = ()


def diagram(spec: FlowSpec, served: Mapping[str, Served], *, is_plain: bool = False) -> str:
    """The graph of `spec`. served: what is known of the Executors' classes. is_plain: in ASCII only."""
    topology = spec.topology()
    executors = {executor.name: executor for executor in spec.executors}
    lanes = _Lanes(_waiting(topology))
    rows: list[Row] = [*lanes.pass_by(GATEWAY, "○", (GATEWAY, _door(spec)))]
    for node in topology.in_order:
        executor = executors[node.name]
        mark = "○" if executor.floating else "◆" if executor.external else "●"
        rows += lanes.pass_by(node.name, mark, (node.name, *_about(executor, served.get(node.name))))
    rows += lanes.pass_by(_REPLY, "○", (_REPLY,) if topology.last in executors else (_REPLY, "the request itself"))
    text = "\n".join(_aligned(rows))
    return text.translate(_PLAIN) if is_plain else text


def standing_alone(spec: FlowSpec, served: Mapping[str, Served], *, is_plain: bool = False) -> str:
    """The only Executor of `spec`, which nothing stands before or behind."""
    [executor] = spec.executors
    rows: list[Row] = [("●", (executor.name, *_about(executor, served.get(executor.name)))), (" ", ("", _door(spec)))]
    text = "\n".join(_aligned(rows))
    return text.translate(_PLAIN) if is_plain else text


def _waiting(topology: Topology) -> dict[str, tuple[str, ...]]:
    """Who waits for whom; the reply waits for all that nothing needs, unless they float."""
    waiting = dict(topology.downstream)
    for name in topology.leaves:
        if not topology.by_name[name].floating:
            waiting[name] = (_REPLY,)
    if topology.last == GATEWAY:
        waiting[GATEWAY] = (*waiting[GATEWAY], _REPLY)
    return waiting


def _door(spec: FlowSpec) -> str:
    port = f"port {spec.port}" if spec.port else "a port that the system chooses"
    return f"{spec.host}, {port}"


def _about(executor: ExecutorSpec, served: Served | None) -> tuple[str, str]:
    """What serves it, and what it answers or asks for."""
    told = _origin(executor, served)
    if executor.shards > 1:
        told += f", {executor.shards} shards" + (f" x {executor.replicas} replicas" if executor.replicas > 1 else "")
    elif executor.replicas > 1:
        told += f", {executor.replicas} replicas"
    remarks = [*(served.endpoints if served else ())]
    if len(executor.needs) > 1:
        remarks.append(f"needs {', '.join(executor.needs)}" + (f", any {executor.quorum}" if executor.quorum else ""))
    if executor.when:
        remarks.append("some documents only")
    if executor.floating:
        remarks.append("nobody waits")
    return told, "  ".join(remarks)


def _origin(executor: ExecutorSpec, served: Served | None) -> str:
    if executor.external:
        return f"external at {', '.join(executor.addresses)}"
    if executor.uses is None:
        return "passes documents through"
    around = [part for part, uses in (("before", executor.uses_before), ("after", executor.uses_after)) if uses]
    unknown = str(executor.uses) if is_container(executor.uses) else "?"
    name = served.name if served else unknown
    return name + (f" (with an Executor {' and '.join(around)})" if around else "")


def _aligned(rows: Iterable[Row]) -> list[str]:
    rows = list(rows)
    lanes = max(len(drawn) for drawn, _ in rows)
    widths = [max((len(cells[at]) for _, cells in rows if len(cells) > at), default=0) for at in range(2)]
    lines = []
    for drawn, cells in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, (*widths, 0))]
        lines.append(f"{drawn.ljust(lanes)}  {'  '.join(padded)}".rstrip())
    return lines


class _Lanes:
    """Columns, each of them free or taken by somebody who waits. waiting: for each name, who waits for it."""

    def __init__(self, waiting: Mapping[str, Sequence[str]]) -> None:
        self._waiting = waiting
        self._columns: list[str] = []

    def pass_by(self, name: str, mark: str, cells: tuple[str, ...]) -> list[Row]:
        """The rows of one name: its lanes meet, it stands there, and the lanes of those who wait for it begin."""
        met = [column for column, waiting in enumerate(self._columns) if waiting == name] or [self._free(0)]
        own = met[0]
        rows: list[Row] = []
        if len(met) > 1:
            rows.append((self._drawn({own: "├", **_ends(met[1:], "┴", "╯")}), ()))
        for column in met:
            self._columns[column] = ""
        rows.append((self._drawn({own: mark}), cells))
        begun = []
        for index, who in enumerate(self._waiting.get(name, ())):
            begun.append(self._free(own) if index else own)
            self._columns[begun[-1]] = who
        if len(begun) > 1:
            rows.append((self._drawn({own: "├", **_ends(begun[1:], "┬", "╮")}), ()))
        return rows

    def _free(self, first: int) -> int:
        """A free column from `first` on."""
        for column in range(first, len(self._columns)):
            if not self._columns[column]:
                return column
        self._columns.append("")
        return len(self._columns) - 1

    def _drawn(self, marks: Mapping[int, str]) -> str:
        first, last = min(marks), max(marks)
        text = ""
        for column, waiting in enumerate(self._columns):
            crossed = first < column < last
            text += marks.get(column) or (("┼" if crossed else "│") if waiting else "─" if crossed else " ")
            text += "─" if first <= column < last else " "
        return text.rstrip()


def _ends(columns: Sequence[int], between: str, last: str) -> dict[int, str]:
    return {column: last if column == max(columns) else between for column in columns}
