"""JSON Schema of the YAML files: it knows every option, never refuses what is right, and agrees with the checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from zflow.batching import OPTIONS
from zflow.config.checking import check_file
from zflow.config.definition import KEYS
from zflow.config.deployment import OF_A_GRAPH, check_options
from zflow.config.options import Option, Surface, collect, options_of
from zflow.config.places import Place
from zflow.config.plain_yaml import parse
from zflow.config.schema import KINDS, schema
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError
from zflow.executor import METAS

ROOT = Path(__file__).parents[2]
Properties = dict[str, Any]


def is_valid(value: Any, kind: str | None = None) -> bool:
    return bool(Draft7Validator(schema(kind)).is_valid(value))


def properties(kind: str, *path: str) -> Properties:
    """Those of the map at `path` in the schema of `kind`."""
    at = schema(kind)["definitions"][kind]
    for key in path:
        at = at["items"] if key == "items" else at["properties"][key]
        while "anyOf" in at:
            at = at["anyOf"][0]
    found: Properties = at["properties"]
    return found


# -- what it is made of ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_it_is_a_schema(kind: str | None) -> None:
    Draft7Validator.check_schema(schema(kind))


@pytest.mark.parametrize(
    ("spec", "kind", "path"),
    [
        (FlowSpec, "flow", ("with",)),
        (ExecutorSpec, "flow", ("executors", "items")),
        (ExecutorSpec, "deployment", ("with",)),
    ],
)
def test_every_option_of_yaml_is_there_with_what_it_is_for_and_its_default(
    spec: type, kind: str, path: tuple[str, ...]
) -> None:
    there = properties(kind, *path)
    for item in options_of(spec):
        if Surface.YAML not in item.surfaces or (kind == "deployment" and item.name in OF_A_GRAPH):
            continue
        assert there[item.name]["description"].startswith(item.help), item.name
        assert there[item.name].get("default") == (item.default or (False if item.default is False else None))
        for alias in item.aliases:
            assert there[alias]["description"] == f"another word for {item.name}"


def test_every_kind_of_value_says_what_it_is() -> None:
    assert [item.name for spec in (FlowSpec, ExecutorSpec) for item in options_of(spec) if not item.kind.shape] == []


def test_a_definition_has_every_key_that_a_file_may_have() -> None:
    there = properties("executor")
    assert there.keys() == set(KEYS)
    assert properties("executor", "metas").keys() == set(METAS)
    batching = there["dynamic_batching"]["anyOf"][0]["additionalProperties"]["anyOf"][0]
    assert batching["properties"].keys() == set(OPTIONS)


def test_choices_are_listed_for_editors() -> None:
    [shape] = [item for item in properties("flow", "with")["start_method"]["anyOf"] if "enum" in item]
    assert shape["enum"] == ["warm", "spawn"]


def test_another_kind_of_file_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'deployment'"):
        schema("deploiment")


# -- one option, one value: the schema and the checks say the same --------------------------------------------------

VALUES: list[Any] = [
    *(True, False, 0, 1, -1, 2, 64, 65_535, 65_536, 1 << 31, 1 << 40, 0.5, -2.5, "", " ", "1", "two", "true"),
    *("gateway", "encoder", "9lives", "a b", "x" * 64, "x" * 65, "größe", "a-b", "warm", "spawn", "forked", "fail"),
    *("skip", "ANY", "all", "SOME", "0-3", "3", "0-1,4", "4-1", "localhost", "10.0.0.1", "10.0.0.1:80", "::1"),
    *("[::1]:80", "tcp://a:1", "a:b", "host:70000", "Encoder", "pack.mod:Encoder", "encoder.yml", "encoder.py"),
    *("some words", "/data", "../up", "jtype: Encoder", "{jtype: Encoder, py_modules: e.py}"),
    *([], ["a"], ["gateway", "a"], ["a", 1], [None], [0, 1], [0, -1], [5000], [True], ["10.0.0.1:1", "b:2"], [[]]),
    *({}, {"a": 1}, {"A": "x"}, {"A": None}, {"A": True}, {"1A": "x"}, {"a b": 1}, {"metas": 1}, {"a": {"b": []}}),
    *({"/search": "ALL"}, {"*": "any"}, {"/search": "FEW"}, {"search": "ALL"}, {"/search": "find"}, {"/s": "fi nd"}),
    *({"/a": {"timeout": 5}}, {"encode": {"preferred_batch_size": 0}}, {"encode": {"flush_all": True}}),
    *({"e": {"timeout": -1}}, {"e": {"size": 1}}, {"e": {"custom_metric": "len"}}, {"e": {"use_custom_metric": None}}),
    *(
        {"name": "x"},
        {"name": 1},
        {"nme": "x"},
        {"py_modules": ["a.py", "b"]},
        {"py_modules": [1]},
        {"workspace": None},
    ),
    *({"jtype": "Encoder"}, {"jtype": "a.b"}, {"jtype": "Encoder", "with": {"x": 1}}, {"jtype": "E", "wiht": {}}),
    *(
        {"jtype": "E", "metas": {"nme": 1}},
        {"jtype": "E", "requests": {"/a": "b"}},
        {"jtype": "E", "requests": {"a": 1}},
    ),
    *(
        {"network": "bridge"},
        {"netwrok": "bridge"},
        {"read_only": "yes"},
        {"cap_add": ["NET_ADMIN"]},
        {"tmpfs": {"/a": ""}},
    ),
    *("./data:/data:ro", "data:in", "device=0,1", "all", [0, 1]),
    *({"tags__kind": {"$eq": "cry"}}, {"$and": [{"text": {"$eq": "a"}}]}),
]
# what only code can tell: a number as text among cores, kinds of hosts, keys, conditions and names of classes
LOOSER = ("host", "server_key", "when", "cpus", "uses", "uses_before", "uses_after")


def refused(item: Option, value: Any) -> bool:
    spec = FlowSpec if item in options_of(FlowSpec) else ExecutorSpec
    try:
        collect(spec, {item.name: value}, Place(), Surface.YAML)
    except ConfigError:
        return True
    return False


def every_option() -> Iterator[Any]:
    for spec, kind, path in ((FlowSpec, "flow", ("with",)), (ExecutorSpec, "flow", ("executors", "items"))):
        shapes = properties(kind, *path)
        for item in options_of(spec):
            if Surface.YAML in item.surfaces:
                yield pytest.param(item, shapes[item.name], id=f"{spec.__name__}.{item.name}")


@pytest.mark.parametrize(("item", "shape"), [*every_option()])
def test_an_option_is_refused_by_both_or_by_none(item: Option, shape: dict[str, Any]) -> None:
    validator = Draft7Validator({**shape, "definitions": schema()["definitions"]})
    is_looser = item.name in LOOSER
    verdicts = {repr(value): (not validator.is_valid(value), refused(item, value)) for value in [None, *VALUES]}
    for value, (by_schema, by_check) in verdicts.items():
        assert by_schema == by_check or (is_looser and by_check), f"{item.name}: {value}"
    told = {by_schema for by_schema, _ in verdicts.values()}
    assert told == {True, False}, "some values fit and some do not"


@pytest.mark.parametrize(("item", "shape"), [*every_option()])
def test_a_template_may_stand_for_any_value(item: Option, shape: dict[str, Any]) -> None:
    assert Draft7Validator({**shape, "definitions": schema()["definitions"]}).is_valid("${{ CONTEXT.x }}")


# -- whole files -------------------------------------------------------------------------------------------------------

FLOW = "jtype: Flow\n"
DEPLOYMENT = "jtype: Deployment\n"
GOOD = [
    FLOW,
    FLOW + "version: 1\n",
    FLOW + "version: '1.0'\nwith:\ngateway:\nexecutors:\n",
    "!Flow\nwith: {port: 1234, env: {A: 1}}\n",
    FLOW + "gateway: {port: 1, host: localhost}\n",
    FLOW + "with: {name: '${{ ENV.HOME }}', quiet: true, timeout_ready: -1, port_expose: 7}\n",
    FLOW + "executors:\n- name: a\n-\n- {name: b, needs: gateway, replicas: 2}\n- {method: needs, needs: [a, b]}\n",
    FLOW + "executors:\n- {name: a, shards: 2, polling: {/search: ALL, '*': any}}\n- method: needs_all\n",
    FLOW + "executors:\n- {uses: {jtype: Executor, with: {a: [1, {b: null}]}}, cpus: 0-3}\n",
    FLOW + "executors:\n- {external: true, host: ['127.0.0.1:1', '127.0.0.2:1']}\n",
    FLOW + "executors:\n- uses_dynamic_batching: {/encode: {preferred_batch_size: 8, timeout: 1.5}}\n",
    FLOW + "executors:\n- env: {HOME: '${{ ENV.HOME }}', N: '${{ CONTEXT.n }}'}\n  disable_reduce: true\n",
    DEPLOYMENT,
    DEPLOYMENT + "with: {replicas: 2, port: 1234, prefetch: 3, uses_with: {a: 1}}\n",
    "!Deployment\nwith: {uses: Executor, shards: 2}\n",
]
BAD = [
    "[]\n",
    "no map\n",
    "with: {}\n",
    FLOW + "version: 2\n",
    FLOW + "executor: []\n",
    FLOW + "with: [port]\n",
    FLOW + "with: {prt: 1}\n",
    FLOW + "with: {port: many}\n",
    FLOW + "with: {port: 70000}\n",
    FLOW + "with: {start_method: forked}\n",
    FLOW + "gateway: {quiet: true}\n",
    FLOW + "executors: {name: a}\n",
    FLOW + "executors: [[no, map]]\n",
    FLOW + "executors:\n- name: 9lives\n",
    FLOW + "executors:\n- name: gateway\n",
    FLOW + "executors:\n- replicas: two\n",
    FLOW + "executors:\n- {shards: 0}\n",
    FLOW + "executors:\n- {method: inspect}\n",
    FLOW + "executors:\n- name: a\n- {method: needs, needs: [a]}\n",
    FLOW + "executors:\n- name: a\n- {method: needs}\n",
    FLOW + "executors:\n- uses: {jtype: Tagger, wiht: {}}\n",
    FLOW + "executors:\n- uses: {jtype: a.b.Tagger}\n",
    FLOW + "executors:\n- uses: encoder.py\n",
    FLOW + "executors:\n- uses_requests: {encode: encode}\n",
    FLOW + "executors:\n- env: {A: true}\n",
    FLOW + "executors:\n- prefetch: 3\n",
    DEPLOYMENT + "executors: []\n",
    DEPLOYMENT + "with: {needs: a}\n",
    DEPLOYMENT + "with: {replicas: 0}\n",
    "jtype: a.Encoder\n",
    "jtype: Encoder\nwiht: {}\n",
    "jtype: Encoder\nmetas: {nme: x}\n",
    "jtype: Encoder\nrequests: {/a: no method}\n",
    "jtype: Encoder\ndynamic_batching: {/a: {size: 1}}\n",
]
BEYOND = [  # right in each value: what follows from several, from other files and from the graph
    FLOW + "executors:\n- {port_in: 4, replicas: 3}\n",
    FLOW + "executors:\n- needs: nobody\n",
    FLOW + "executors:\n- {name: a, needs: b}\n- {name: b, needs: a}\n",
    FLOW + "executors:\n- uses: not_there.yml\n",
    FLOW + "executors:\n- name: a\n- name: a\n",
]


def both(folder: Path, text: str) -> tuple[bool, bool]:
    """Whether the schema and whether `zflow check` has no fault to tell, but for classes."""
    path = folder / "file.yml"
    path.write_text(text, "utf-8")
    value, _ = parse(path, context={"n": 3}, class_allowed=lambda path: True)
    return is_valid(value), not check_file(path, {"n": 3}).faults


@pytest.mark.parametrize("text", GOOD)
def test_both_accept_what_is_right(tmp_path: Path, text: str) -> None:
    assert both(tmp_path, text) == (True, True)


@pytest.mark.parametrize("text", BAD)
def test_both_refuse_what_is_wrong(tmp_path: Path, text: str) -> None:
    assert both(tmp_path, text) == (False, False)


@pytest.mark.parametrize("text", BEYOND)
def test_what_follows_from_several_values_is_left_to_check(tmp_path: Path, text: str) -> None:
    assert both(tmp_path, text) == (True, False)


@pytest.mark.parametrize("text", [text for text in GOOD if text.startswith(("jtype: ", "!"))])
def test_the_schema_of_one_kind_says_what_that_of_all_says(text: str) -> None:
    value, _ = parse(text, context={"n": 3}, class_allowed=lambda path: True)
    kind = str(value["jtype"]).lower()
    assert [is_valid(value, other) for other in KINDS[:2]] == [kind == other for other in KINDS[:2]]


def test_templates_are_right_before_they_are_replaced() -> None:
    executors = [
        {"replicas": "${{ ENV.N }}", "needs": ["${{ CONTEXT.before }}"], "uses_requests": {"/": "${{ ENV.M }}"}}
    ]
    assert is_valid({"jtype": "Flow", "with": {"port": "${{ ENV.PORT }}"}, "executors": executors})
    assert not is_valid({"jtype": "Flow", "with": {"port": "$PORT"}})


# -- the files of this repository --------------------------------------------------------------------------------------


def described(text: str) -> bool:
    return re.search(r"^(jtype: |!)", text, re.MULTILINE) is not None


def examples() -> Iterator[Any]:
    files = (path for folder in ("examples", "zflow", "bench", "docs") for path in (ROOT / folder).rglob("*.y*ml"))
    for path in sorted(files):
        text = path.read_text("utf-8")
        if described(text):
            yield pytest.param(text, id=str(path.relative_to(ROOT)))
    told = (ROOT / "README.md").read_text("utf-8")
    for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", told, re.DOTALL | re.MULTILINE)):
        if described(text):
            yield pytest.param(text, id=f"README.md-{number}")


@pytest.mark.parametrize("text", [*examples()])
def test_every_example_is_right(text: str) -> None:
    value, _ = parse(text, class_allowed=lambda path: True)
    assert [error.message for error in Draft7Validator(schema()).iter_errors(value)] == []


def test_a_deployment_and_its_schema_know_the_same_options() -> None:
    there = properties("deployment", "with")
    for name in there:
        check_options({name: None}, Place(), Surface.YAML)
    with pytest.raises(ConfigError):
        check_options({"needs": "a"}, Place(), Surface.YAML)
