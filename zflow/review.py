"""A YAML file looked at without starting what it describes: all of its faults, and which classes would serve what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config.checking import Class, check_file
from zflow.config.spec import FlowSpec
from zflow.errors import ConfigError
from zflow.exports.diagram import Served, diagram, standing_alone
from zflow.processes.inspection import PATIENCE, Found, inspect

_TITLES = {"flow": "Flow", "deployment": "Deployment", "executor": "Executor"}


class Review(NamedTuple):
    """kind: "flow", "deployment" or "executor". flow: what the file describes, unless there are faults. found: the
    classes, by Executor and by "uses", "uses_before" or "uses_after"."""

    file: str
    kind: str
    flow: FlowSpec | None
    found: Mapping[tuple[str, str], Found]
    faults: tuple[ConfigError, ...]

    def drawn(self, *, is_plain: bool = False) -> str:
        """A title, and the graph. Only without faults."""
        assert self.flow is not None
        served = {
            node: Served(found.name, found.endpoints) for (node, part), found in self.found.items() if part == "uses"
        }
        draw = diagram if self.kind == "flow" else standing_alone
        return f"{self._title()}\n\n{draw(self.flow, served, is_plain=is_plain)}"

    def _title(self) -> str:
        assert self.flow is not None
        own = [executor for executor in self.flow.executors if not executor.external]
        around = sum((item.uses_before is not None) + (item.uses_after is not None) for item in own)
        workers = sum(item.shards * item.replicas for item in own) + around
        counted = f"{len(self.flow.executors)} Executor{'' if len(self.flow.executors) == 1 else 's'}"
        of = f" of {counted}" if self.kind == "flow" else ""
        return f"{self.file}: {_TITLES[self.kind]}{of} in {workers} process{'' if workers == 1 else 'es'}, no faults"

    def as_map(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "file": self.file,
            "kind": self.kind,
            "faults": [
                {"file": fault.source, "line": fault.line, "path": fault.path, "message": fault.problem or str(fault)}
                for fault in self.faults
            ],
            "executors": [self._executor(item.name) for item in self.flow.executors] if self.flow else [],
        }

    def _executor(self, name: str) -> dict[str, Any]:
        assert self.flow is not None
        executor = next(item for item in self.flow.executors if item.name == name)
        found = self.found.get((name, "uses"), Found())
        return {
            "name": name,
            "needs": list(executor.needs),
            "class": found.name,
            "file": found.file,
            "endpoints": list(found.endpoints),
            "shards": executor.shards,
            "replicas": executor.replicas,
            "external": list(executor.addresses),
        }


def review(path: str | Path, context: Mapping[str, Any] | None = None, patience: float = PATIENCE) -> Review:
    """What is right and wrong with the Flow, Deployment or Executor in the YAML file at `path`.

    context: values for ``${{ CONTEXT.x }}``. patience: seconds that the import of one class's modules may take.
    """
    checked = check_file(Path(path), context)
    distinct = list({repr(item.description): item for item in checked.classes}.values())
    found = {repr(item.description): told for item, told in zip(distinct, _inspected(distinct, patience))}
    by_part = {(item.node, item.part): found[repr(item.description)] for item in checked.classes}
    missing = [
        item.place.fault(by_part[item.node, item.part].problem)
        for item in checked.classes
        if by_part[item.node, item.part].problem
    ]
    faults = sorted((*checked.faults, *missing), key=lambda fault: (fault.source != Path(path).name, fault.line))
    return Review(str(path), checked.kind, None if faults else checked.flow, by_part, tuple(faults))


def _inspected(classes: list[Class], patience: float) -> list[Found]:
    return inspect([item.description for item in classes], patience)
