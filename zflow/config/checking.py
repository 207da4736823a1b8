"""What is wrong with a file, all of it: the loaders stop at the first fault, an author wants to see every one.

The same checks as on loading, made for one value at a time wherever values do not depend on each other. What depends on
several (a port beside replicas, the graph) is looked at only where each of them is right by itself, so that no fault is
told that would go away with another. Nothing of the user's is imported: the classes that are to be found are listed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config import deployment, yaml_file
from zflow.config.definition import Folder, checked_definition, checked_uses
from zflow.config.faults import faults_of
from zflow.config.options import Surface, collect
from zflow.config.places import Place
from zflow.config.plain_yaml import only_at_root, parse
from zflow.config.plan import Plan, plan_deployment, plan_flow, plan_standalone
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError, TopologyError
from zflow.loading import ExecutorDescription
from zflow.topology import GATEWAY

_OF_THE_GRAPH = ("method", "name", "needs", "floating")  # what must be right before the graph can be judged
_OF_ITS_CLASS = (*yaml_file.USES, "uses_with", "uses_metas", "uses_requests", "uses_dynamic_batching", "py_modules")
_OF_A_JOIN: dict[str, Any] = {"quorum": None, "within": None, "floating": False}


class Class(NamedTuple):
    """A class to be found. node: the Executor that it is for. part: "uses", "uses_before" or "uses_after"."""

    node: str
    part: str
    description: ExecutorDescription
    place: Place


class Checked(NamedTuple):
    """A file that was looked at. kind: "flow", "deployment" or "executor". flow: what it describes (a Flow of one
    Executor for the others); None where a fault keeps it from being one. classes: of what has no fault."""

    kind: str
    flow: FlowSpec | None
    classes: tuple[Class, ...]
    faults: tuple[ConfigError, ...]


def check_file(path: Path, context: Mapping[str, Any] | None = None) -> Checked:
    """The Flow, Deployment or Executor in the YAML file at `path`, and every fault in the order of lines."""
    try:
        value, _ = parse(path, context=context, class_allowed=lambda path: True, faults=[])
    except ConfigError as fault:  # not even YAML
        return Checked("flow", None, (), (fault,))
    jtype = value.get("jtype") if isinstance(value, Mapping) else None
    kind = {"Flow": _FlowFile, "Deployment": _DeploymentFile}.get(str(jtype), _ExecutorFile)
    looked_at = kind(path, context)
    try:
        flow = looked_at.check()
    except ConfigError as fault:
        looked_at.faults.append(fault)
    distinct = {str(fault): fault for fault in looked_at.faults}.values()  # a file may be named more than once
    faults = sorted(distinct, key=lambda fault: (fault.source != path.name, fault.line))
    return Checked(kind.name, None if faults else flow, tuple(looked_at.classes), tuple(faults))


class _File:
    """What is found in one file."""

    name = ""

    def __init__(self, path: Path, context: Mapping[str, Any] | None) -> None:
        self.path = path
        self.context = context
        self.folder = Folder(path.parent.absolute(), confined=True)
        self.faults: list[ConfigError] = []
        self.classes: list[Class] = []

    def check(self) -> FlowSpec | None:
        """What the file describes, as far as it is right. May raise ConfigError for what ends the looking."""
        raise NotImplementedError

    def root(self, jtype: str, module: Any) -> tuple[dict[str, Any], Place]:
        """The map in the file, and its place. Raises ConfigError where it is none."""
        value, place = parse(self.path, context=self.context, class_allowed=module.class_allowed, faults=self.faults)
        root = yaml_file.as_map(value, place)
        for part in [{"jtype": root.get("jtype"), key: item} for key, item in root.items()] or [{}]:
            try:
                yaml_file.check_root(part, place, jtype, module.KEYS)
            except ConfigError as fault:
                self.faults.append(fault)
        return root, place

    def look_at(self, check: Callable[[Any], object], given: Any = None, place: Place | None = None) -> bool:
        """Note what `check` refuses. Whether that is nothing."""
        found = faults_of(check, given, place)
        self.faults += found
        return not found

    def options(self, check: Callable[[dict[str, Any]], object], given: Any, place: Place) -> dict[str, Any]:
        """Those options of an Executor that are right by themselves, files that they name included."""
        if not self.look_at(lambda given: yaml_file.as_map(given, place), given):
            return {}

        def check_one(part: Any) -> None:
            resolved = dict(part)
            yaml_file.resolve(resolved, self.folder, place, self.context)
            check(resolved)

        return {key: item for key, item in (given or {}).items() if self._is_right(check_one, key, item, place)}

    def _is_right(self, check: Callable[[Any], None], key: str, item: Any, place: Place) -> bool:
        before = len(self.faults)
        if key in yaml_file.USES and isinstance(item, Mapping):
            self.faults += _faults_in_definition(item, self.folder, place.down(key))
        elif self.look_at(check, {key: item}) and key in yaml_file.USES:
            uses = checked_uses(item, self.folder, place.down(key), self.context)
            if isinstance(uses, str) and os.path.isabs(uses):
                self.faults += definition_faults(Path(uses), self.context)
        return len(self.faults) == before

    def find_classes(self, executor: ExecutorSpec, plan: Callable[[], Plan], place: Place) -> str:
        """List the classes of an Executor, the options of which are right. Returns what it is called."""
        planned: list[Plan] = []
        if not self.look_at(lambda _: planned.append(plan()), None, place):
            return executor.name
        found = {}
        for worker in planned[0].workers:
            part = next(
                (part for part in yaml_file.USES[1:] if part.replace("_", "-") in worker.name.split("/")), "uses"
            )
            if worker.container is None:  # what is in an image is not here to be looked at
                found[part] = Class(worker.node, part, worker.description, place.down(part))
        self.classes += found.values()
        return planned[0].nodes[0].name


class _FlowFile(_File):
    name = "flow"

    def check(self) -> FlowSpec:
        root, place = self.root("Flow", yaml_file)
        spec = self._front(root, place)
        entries = root.get("executors")
        if not self.look_at(lambda given: yaml_file.as_list(given, place.down("executors")), entries):
            return spec
        described: list[int] = []  # those of which the class can be looked for
        is_graph = True
        for number, entry in enumerate(entries or []):
            there = place.down("executors", number)
            right, is_right = self._right_options(entry, there)
            if is_right:
                try:
                    spec = yaml_file.add_entry(spec, entry, self.folder, there, self.context)
                    described.append(number)
                    continue
                except ConfigError as fault:  # several values that do not go together
                    self.faults.append(fault)
            given = entry if isinstance(entry, Mapping) else {}
            spec, stands = self._with_placeholder(spec, right, there)
            is_graph = is_graph and stands and all(key in right for key in _OF_THE_GRAPH if key in given)
            if stands and all(key in right for key in _OF_ITS_CLASS if key in given):
                described.append(number)
        if is_graph:
            self._look_at_graph(spec, place)
        if not self.faults:
            self.look_at(lambda _: plan_flow(replace(spec, executors=())), None, place.down("with"))
        for number in described:
            self._find_classes_of(spec, spec.executors[number], place.down("executors", number))
        return spec

    def _front(self, root: Mapping[str, Any], place: Place) -> FlowSpec:
        """A Flow of those of its own options that are right."""
        inside = place.down("with")
        if not self.look_at(lambda given: yaml_file.as_map(given, inside), root.get("with")):
            return FlowSpec()
        is_right = self.look_at(
            lambda given: collect(FlowSpec, given, inside, Surface.YAML), yaml_file.as_map(root.get("with"), inside)
        )

        def check(given: Mapping[str, Any]) -> None:
            yaml_file.flow_options({**root, **given}, self.folder, place)
            collect(FlowSpec, given["gateway"] or {}, place.down("gateway"), Surface.YAML)

        is_right = self.look_at(check, {"gateway": root.get("gateway")}) and is_right
        return FlowSpec.from_options(**yaml_file.flow_options(root, self.folder, place)) if is_right else FlowSpec()

    def _right_options(self, entry: Any, place: Place) -> tuple[dict[str, Any], bool]:
        """The options of an Executor that are right by themselves, and whether that is all of them."""
        before = len(self.faults)
        given = dict(entry) if isinstance(entry, Mapping) else entry
        method = given.pop("method", None) if isinstance(given, dict) else None
        right = self.options(lambda part: collect(ExecutorSpec, part, place, Surface.YAML), given, place)
        if self.look_at(lambda given: yaml_file.checked_method(given, place.down("method")), method):
            right["method"] = method
        return right, len(self.faults) == before

    def _with_placeholder(self, spec: FlowSpec, right: dict[str, Any], place: Place) -> tuple[FlowSpec, bool]:
        """The Flow with a stand-in for an Executor that is wrong; whether that is more than a name."""
        kept = {key: item for key, item in right.items() if key in (*_OF_THE_GRAPH, *_OF_ITS_CLASS)}
        try:
            return yaml_file.add_entry(spec, kept, self.folder, place, self.context), True
        except ConfigError:
            return spec.add(), False

    def _look_at_graph(self, spec: FlowSpec, place: Place) -> None:
        wrong = [(number, str(fault)) for number, fault in spec.graph_faults()]
        self.faults += [place.down("executors", number).fault(told, TopologyError) for number, told in wrong]
        if not wrong:
            self.look_at(lambda _: spec.topology(), None, place.down("executors"))

    def _find_classes_of(self, spec: FlowSpec, executor: ExecutorSpec, place: Place) -> None:
        """Planned alone: the rest of the graph is no matter."""
        alone = replace(spec, executors=(replace(executor, needs=(GATEWAY,), **_OF_A_JOIN),))
        self.find_classes(executor, lambda: plan_flow(alone), place)


class _DeploymentFile(_File):
    name = "deployment"

    def check(self) -> FlowSpec | None:
        root, place = self.root("Deployment", deployment)
        inside = place.down("with")
        self.options(lambda part: deployment.check_options(part, inside, Surface.YAML), root.get("with"), inside)
        if self.faults:
            return None
        spec = deployment.load_deployment(self.path, context=self.context)
        name = self.find_classes(spec.executor, lambda: plan_deployment(spec), inside)
        if self.faults:
            return None
        executor = replace(spec.executor, name=name, needs=(GATEWAY,))
        return replace(spec.front, port=spec.port, host=spec.host, executors=(executor,))


class _ExecutorFile(_File):
    name = "executor"

    def check(self) -> FlowSpec | None:
        self.faults += definition_faults(self.path, self.context)
        if self.faults:
            return None
        _, place = parse(self.path, context=self.context)
        spec = ExecutorSpec.from_options(uses=str(self.path.absolute()))
        planned = plan_standalone(spec)
        self.classes.append(Class(planned.node, "uses", planned.description, place.down("jtype")))
        return replace(FlowSpec(), executors=(replace(spec, name=planned.node, needs=(GATEWAY,)),))


def definition_faults(path: Path, context: Mapping[str, Any] | None = None) -> list[ConfigError]:
    """What is wrong with the YAML file of an Executor."""
    faults: list[ConfigError] = []
    try:
        value, place = parse(path, context=context, class_allowed=only_at_root, faults=faults)
    except ConfigError as fault:
        return [fault]
    return faults + _faults_in_definition(value, Folder(path.parent.absolute(), confined=True), place)


def _faults_in_definition(value: Any, folder: Folder, place: Place) -> list[ConfigError]:
    if not isinstance(value, Mapping):
        return faults_of(lambda given: checked_definition(given, folder, place), value)
    named = {"jtype": value.get("jtype")}
    rest = {key: item for key, item in value.items() if key != "jtype"}
    faults = faults_of(lambda given: checked_definition(given, folder, place), named)
    return faults + faults_of(lambda given: checked_definition({"jtype": "Any", **given}, folder, place), rest)
