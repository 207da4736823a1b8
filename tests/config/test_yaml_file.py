"""A Flow as YAML, both ways; the bad inputs 76 to 83 of the reliability page."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zflow.config import environment
from zflow.config.spec import FlowSpec
from zflow.config.yaml_file import dump_flow, load_flow
from zflow.errors import ConfigError, TopologyError
from zflow.executor import Executor

FLOW = """\
jtype: Flow
version: '1'
with:
  port: 12345
  env: {LEVEL: on}
executors:
  - name: encoder
    uses: encoders/encoder.yml
    uses_with: {size: 3}
    replicas: 2
  - name: tagger
    needs: gateway
    uses:
      jtype: Tagger
      with: {words: [no, 22:22]}
      metas: {name: Dynamic Name}
      requests: {/index: tag}
      py_modules: tagger.py
  - method: needs
    needs: [encoder, tagger]
    no_reduce: true
  - uses: pkg.module.Last
    py_modules: [last.py, pkg.more]
  - {host: localhost, port_in: 12345, external: true}
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "flow.yml").write_text(FLOW)
    return tmp_path / "flow.yml"


def faulty(entry: str) -> str:
    return f"jtype: Flow\nexecutors:\n- {{name: first}}\n- {{{entry}}}\n"


def expected(folder: Path) -> FlowSpec:
    return (
        FlowSpec.from_options(port=12345, env={"LEVEL": "on"})
        .add(name="encoder", uses=folder / "encoders/encoder.yml", uses_with={"size": 3}, replicas=2)
        .add(
            name="tagger",
            needs="gateway",
            uses={
                "jtype": "Tagger",
                "with": {"words": ["no", "22:22"]},
                "metas": {"name": "Dynamic Name", "py_modules": [f"{folder}/tagger.py"]},
                "requests": {"/index": "tag"},
            },
        )
        .needs(["encoder", "tagger"], no_reduce=True)
        .add(uses="pkg.module:Last", py_modules=[f"{folder}/last.py", "pkg.more"])
        .add(host="localhost", port_in=12345, external=True)
    )


# -- loading -------------------------------------------------------------------------------------------------------


def test_a_file_becomes_the_same_flow_as_the_calls(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert load_flow(file) == load_flow(str(file)) == expected(file.parent)


def test_text_and_dicts_are_relative_to_the_working_directory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert load_flow(FLOW) == load_flow("flow.yml") == load_flow(Path("flow.yml")) == expected(file.parent)
    assert load_flow({"jtype": "Flow", "with": {"port": 1}, "executors": [{"replicas": 2}]}) == (
        FlowSpec.from_options(port=1).add(replicas=2)
    )


@pytest.mark.parametrize(
    "text", ["jtype: Flow", "!Flow {}", "!Flow", "!Flow\nversion: 1\nwith:\nexecutors:\ngateway:\n"]
)
def test_the_smallest_flow(text: str) -> None:
    assert load_flow(text) == FlowSpec()


def test_classes_are_named_by_tags() -> None:
    text = "!Flow\nexecutors:\n  - uses: !Tagger\n  - uses: !Tagger\n      with: {x: 1}\n"
    assert [executor.uses for executor in load_flow(text).executors] == [
        {"jtype": "Tagger"},
        {"jtype": "Tagger", "with": {"x": 1}},
    ]


def test_executors_around_shards_are_given_as_any_other(tmp_path: Path) -> None:
    text = (
        "jtype: Flow\nexecutors:\n- shards: 2\n  polling: {/x: all}\n  uses_before: !Tagger\n  uses_after: after.yml\n"
    )
    (tmp_path / "flow.yml").write_text(text)
    [executor] = load_flow(tmp_path / "flow.yml").executors
    assert (executor.shards, executor.polling) == (2, {"/x": "ALL"})
    assert (executor.uses_before, executor.uses_after) == ({"jtype": "Tagger"}, f"{tmp_path}/after.yml")
    assert "uses_after: after.yml" in dump_flow(load_flow(tmp_path / "flow.yml"), tmp_path)


def test_yaml_inside_of_yaml() -> None:
    text = "jtype: Flow\nexecutors:\n- uses: |\n    jtype: Tagger\n    with: {x: a | b}\n"
    assert load_flow(text).executors[0].uses == {"jtype": "Tagger", "with": {"x": "a | b"}}


def test_the_gateway_may_have_options_of_its_own() -> None:
    text = "jtype: Flow\nwith: {quiet: true}\ngateway: {port: 5, host: 0.0.0.0}\n"
    assert load_flow(text) == FlowSpec.from_options(quiet=True, port=5, host="0.0.0.0")


def test_methods_of_entries() -> None:
    text = "jtype: Flow\nexecutors:\n- method: add\n- {needs: gateway}\n- {method: needs_all, name: all}\n"
    spec = load_flow(text)
    assert [(item.name, item.needs) for item in spec.executors][-1] == ("all", ("executor0", "executor1"))


def test_variables_and_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8080")
    text = "jtype: Flow\nwith: {port: '${{ ENV.PORT }}', description: $PORT}\nexecutors:\n- replicas: ${{ CONTEXT.n }}"
    assert load_flow(text, context={"n": 3}) == FlowSpec.from_options(port=8080, description="$PORT").add(replicas=3)
    with pytest.raises(ConfigError, match=r"^YAML:4 executors\[0\].replicas: the context has no value 'n'"):
        load_flow(text)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("replicas: two", 'flow.yml:4 executors[1].replicas: expected a whole number, got "two"'),
        ("replica: 2", "flow.yml:4 executors[1].replica: unknown option \"replica\": did you mean 'replicas'?"),
        ("name: a, needs: a", "flow.yml:4 executors[1]: 'a' needs itself"),
        ("needs: nobody", "flow.yml:4 executors[1]: 'executor1' needs 'nobody', which is not in the Flow"),
        ("name: second, needs: frist", "did you mean 'first'?"),
        ("name: first", "flow.yml:4 executors[1]: two Executors are named 'first'"),
        ("replicas: 0", "executors[1].replicas: expected a whole number from 1 to 1024, got 0"),
        ("replicas: -1", "expected a whole number from 1 to 1024, got -1"),
        ("replicas: 1000000000", "expected a whole number from 1 to 1024"),
        ("port_in: 65536", "executors[1].port_in: expected a whole number from 0 to 65535, got 65536"),
        ("port_in: '12345; rm'", 'expected a whole number, got "12345; rm"'),
        ("port_in: 22:22", 'expected a whole number, got "22:22"'),
        ("name: ../x", "executors[1].name: '../x' cannot name an Executor"),
        ("name: a;b", "executors[1].name: 'a;b' cannot name an Executor"),
        (f"name: {'x' * 300}", "executors[1].name: 'xxx"),
        ("name: gateway", "'gateway' is the name of the Flow's own entrance"),
        ("py_modules: ../x.py", 'executors[1].py_modules: "../x.py" lies outside of'),
        (
            "uses: {jtype: A, py_modules: [a.py, /etc/x.py]}",
            'executors[1].uses.py_modules[1]: "/etc/x.py" lies outside',
        ),
        ("uses: {jtype: os.system}", "executors[1].uses.jtype: expected the bare name"),
        ("uses: {jtype: A, with: {metas: {}}}", "executors[1].uses.with.metas: metas is no argument"),
        ("uses: {with: {}}", "executors[1].uses.jtype: the definition names no class"),
        ("uses: s3://image", 'executors[1].uses: "s3://image": nothing is called s3://; known: docker, hub'),
        ("uses: hub://-", "executors[1].uses: 'hub://-': '-' is no name in a registry"),
        ("quiet_error: no", 'executors[1].quiet_error: expected true or false, got "no"'),
        ("method: inspect", 'executors[1].method: expected one of add, needs, needs_all, got "inspect"'),
        ("method: needs, needs: first", "executors[1]: a join needs at least two Executors, got 'first'"),
        ("uses_after: {with: {}}", "executors[1].uses_after.jtype: the definition names no class"),
        ("uses_with: [1]", "executors[1].uses_with: expected a map of arguments"),
        ("1: 2", "executors[1]: expected a name for a key, got 1"),
    ],
)
def test_a_fault_in_an_entry_has_file_line_and_path(entry: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text(faulty(entry))
    with pytest.raises(ConfigError) as caught:
        load_flow(tmp_path / "flow.yml")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected 'jtype: Flow', got nothing"),
        ("with: {}", "YAML:1 jtype: expected 'jtype: Flow', got nothing"),
        (
            "jtype: Deployment",
            "expected 'jtype: Flow', got \"Deployment\"; a Deployment is served by `zflow deployment`",
        ),
        ("jtype: Mine\nmetas: {}", "YAML:1 jtype: expected 'jtype: Flow', got \"Mine\"; an Executor is served by `"),
        ("[1]", "YAML:1: expected a map, got [1]"),
        ("jtype: Flow\nversion: 2", "YAML:2 version: expected version '1', got 2"),
        ("jtype: Flow\nexecutor: []", "YAML:2 executor: unknown key \"executor\": did you mean 'executors'?"),
        ("jtype: Flow\nwith: [1]", "YAML:2 with: expected a map"),
        ("jtype: Flow\nwith:\n  prot: 1", "YAML:3 with.prot: unknown option \"prot\": did you mean 'port'?"),
        ("jtype: Flow\nexecutors: {a: 1}", "YAML:2 executors: expected a list"),
        ("jtype: Flow\nexecutors: [exec.yml]", 'YAML:2 executors[0]: expected a map, got "exec.yml"'),
        ("jtype: Flow\ngateway: {prot: 1}", "YAML:2 gateway.prot: unknown option"),
        ("jtype: Flow\nwith: {port: 1}\ngateway: {port: 2}", "YAML:3 gateway.port: port stands under `with` as well"),
        ("jtype: Flow\nwith: {port: 1}\ngateway: {port_expose: 2}", "port and port_expose are one option"),
        ("jtype: Flow\nwith: {x: !Tag {}}", "YAML:2 with.x: unknown tag '!Tag': no class can be named here"),
    ],
)
def test_a_fault_in_the_rest_has_a_line_and_a_path(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_flow(text)
    assert told in str(caught.value)


def test_a_circle_is_a_topology_error() -> None:
    with pytest.raises(TopologyError, match="^YAML:3 executors: these Executors need each other in a circle: a, b"):
        load_flow("jtype: Flow\nexecutors:\n- {name: a, needs: b}\n- {name: b, needs: a}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.yml does not exist"):
        load_flow(str(tmp_path / "none.yml"))


# -- saving --------------------------------------------------------------------------------------------------------


class Importable(Executor): ...


def test_only_what_was_given_is_written(tmp_path: Path) -> None:
    spec = FlowSpec.from_options(port=5).add().add(replicas=2, needs="gateway").needs_all()
    assert dump_flow(spec) == (
        "jtype: Flow\nversion: '1'\nwith:\n  port: 5\nexecutors:\n- {}\n- replicas: 2\n  needs:\n  - gateway\n"
        "- name: joiner\n  needs:\n  - executor0\n  - executor1\n"
    )
    assert dump_flow(FlowSpec()) == "jtype: Flow\nversion: '1'\n"


def test_what_was_saved_is_loaded_equal(file: Path) -> None:
    spec = load_flow(file)
    saved = file.parent / "saved.yml"
    saved.write_text(dump_flow(spec, file.parent))
    assert load_flow(saved) == spec
    assert str(file.parent) not in saved.read_text()
    assert load_flow(dump_flow(spec)) == spec
    assert dump_flow(load_flow(saved), file.parent) == saved.read_text()


def test_folders_are_relative_to_the_file_whatever_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flow.yml").write_text(
        "jtype: Flow\nwith: {workspace: data, keys: ../keys}\n"
        "executors: [{name: a}, {name: b, workspace: ./own}, {name: c, workspace: /abs}, {name: d, workspace: ~/d}]\n"
    )
    monkeypatch.chdir("/")
    spec = load_flow(tmp_path / "flow.yml")
    assert (spec.workspace, spec.keys) == (f"{tmp_path}/data", f"{tmp_path.parent}/keys")
    assert [executor.workspace for executor in spec.executors] == [
        *(f"{tmp_path}/data", f"{tmp_path}/own", "/abs"),
        os.path.expanduser("~/d"),
    ]
    written = dump_flow(spec, tmp_path)
    for text in ("workspace: data\n", "workspace: own\n", f"keys: {tmp_path.parent}/keys"):
        assert text in written
    (tmp_path / "saved.yml").write_text(written)
    assert load_flow(tmp_path / "saved.yml") == spec == load_flow(dump_flow(spec))


def test_a_folder_from_python_means_what_it_meant_when_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = FlowSpec.from_options(workspace="data", log_config={"file": "logs/a.log"})
    monkeypatch.chdir("/")
    assert spec.workspace == f"{tmp_path}/data"
    written = dump_flow(spec, tmp_path)
    assert "workspace: data" in written and "file: logs/a.log" in written
    (tmp_path / "saved.yml").write_text(written)
    assert load_flow(tmp_path / "saved.yml") == spec


def test_what_variables_have_made_is_saved_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PORT": "12399", "TOKEN": "secret", "N": "2", "HOME_OF": "h"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "flow.yml").write_text(
        "jtype: Flow\nwith: {port: '${{ ENV.PORT }}', env: {TOKEN: '${{ ENV.TOKEN }}', N: '${{ ENV.N }}'}}\n"
        "executors:\n  - replicas: ${{ ENV.N }}\n    uses: {jtype: A, with: {token: '${{ ENV.TOKEN }}'}}\n"
        "    uses_with: {url: 'http://${{ ENV.HOME_OF }}/x', deep: [{n: '${{ ENV.N }}'}]}\n"
    )
    spec = load_flow(tmp_path / "flow.yml")
    assert (spec.port, spec.env, spec.executors[0].replicas) == (12399, {"TOKEN": "secret", "N": "2"}, 2)
    written = dump_flow(spec, tmp_path)
    assert written.count("${{ ENV.") == 7
    assert not any(value in written for value in ("12399", "secret", "http://h/"))
    (tmp_path / "saved.yml").write_text(written)
    assert load_flow(tmp_path / "saved.yml") == spec
    assert "${{" not in dump_flow(pickle.loads(pickle.dumps(spec))), "who it is sent to has other variables"


def test_what_a_flow_gives_its_executors_is_saved_once() -> None:
    spec = FlowSpec.from_options(workspace="w", env={"A": "1"}).add(env={"B": "2"})
    assert load_flow(dump_flow(spec)) == spec
    assert dump_flow(spec).count("A:") == 1 and dump_flow(spec).count("workspace:") == 1


def test_a_class_is_saved_as_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "a_module", type(pytest)("a_module"))
    monkeypatch.setattr("a_module.Importable", Importable, raising=False)
    monkeypatch.setattr(Importable, "__module__", "a_module")
    assert "uses: a_module:Importable" in dump_flow(FlowSpec().add(uses=Importable))


def test_what_cannot_be_saved_is_refused_with_the_executors_name(tmp_path: Path) -> None:
    class Local(Executor): ...

    for options, told in [
        ({"uses": Local}, r"executors.mine.uses: .*Local of .* cannot be imported by another process"),
        ({"uses_with": {"x": object()}}, r"executors\[0\].uses_with.x: a object cannot be written to YAML"),
        ({"py_modules": "/etc/x.py"}, r"executors.mine.py_modules: /etc/x.py lies outside of"),
        ({"uses": {"jtype": "A", "py_modules": "/etc/x.py"}}, r"executors.mine.uses.metas.py_modules: /etc/x.py lies"),
    ]:
        with pytest.raises(ConfigError, match=told):
            dump_flow(FlowSpec().add(name="mine", **options), tmp_path)


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True).filter(lambda name: name != "gateway")
VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.lists(st.text(max_size=4), max_size=3)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "uses": st.sampled_from(["Encoder", "pkg.mod:Class", "exec.yml", {"jtype": "A", "with": {"x": "no"}}]),
        "uses_with": st.dictionaries(NAMES.map(lambda name: f"arg_{name}"), VALUES, max_size=3),
        "replicas": st.integers(1, 1024),
        "shards": st.integers(1, 256),
        "polling": st.sampled_from(["ALL", {"/search": "all", "*": "ANY"}]),
        "uses_before": st.sampled_from(["Encoder", {"jtype": "A", "with": {"x": "no"}}]),
        "uses_after": st.sampled_from(["exec.yml", None]),
        "allow_partial": st.booleans(),
        "env": st.dictionaries(NAMES, st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=4)),
        "timeout_send": st.integers(1, 1000) | st.just(-1),
        "needs": st.just("gateway"),
        "no_reduce": st.booleans(),
        "when": st.sampled_from(
            [{}, {"tags__kind": {"$in": ("a", 1)}}, {"$not": {"text": "no"}, "weight": {"$gt": 0.5}}]
        ),
        "floating": st.booleans(),
        "description": st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9),
    },
)


@given(st.lists(ENTRIES, max_size=4), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_flow_is_saved_and_loaded_equal(entries: list[dict[str, Any]], join: bool) -> None:
    spec = FlowSpec.from_options(quiet=True)
    for entry in entries:
        spec = spec.add(**entry)
    spec = spec.needs_all() if join and not all(entry.get("floating") for entry in entries) else spec
    assert load_flow(dump_flow(spec)) == spec


KEYS = st.sampled_from(["jtype", "with", "port", "uses", "name", "needs", "method", "metas", "env", "x"])
WORDS = st.sampled_from(["Flow", "1", "two", "!Tag", "~", "on", "a.yml", "a:B", "docker://x", "[", "- a", "../x"])
TREES = st.recursive(
    WORDS | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(TREES, TREES, TREES)
@settings(max_examples=300, deadline=None)
def test_any_description_is_a_flow_or_a_config_error(options: Any, gateway: Any, executors: Any) -> None:
    try:
        spec = load_flow({"jtype": "Flow", "with": options, "gateway": gateway, "executors": executors})
    except ConfigError:
        return
    assert load_flow(dump_flow(spec)) == spec


def test_peers_are_saved_and_read_again() -> None:
    spec = FlowSpec.from_options(peers={"a": "x:1", "b/shard-0": ["y:2", "z:3"]}).add(name="a")
    assert load_flow(dump_flow(spec)) == spec


def test_what_a_container_may_do_is_saved_and_read_again_and_its_folders_are_named_from_the_file(file: Path) -> None:
    spec = FlowSpec.from_options().add(
        uses="docker://me/x:1",
        volumes=[f"{file.parent}/data:/data:ro", "/elsewhere:/x"],
        gpus=[0, 1],
        entrypoint="python -m 'my zflow'",
        docker_kwargs={"network_mode": "bridge", "tmpfs": {"/cache": "size=1g"}, "read_only": False},
    )
    text = dump_flow(spec, file.parent)
    assert "data:/data:ro" in text and f"{file.parent}/data" not in text
    file.write_text(text)
    assert load_flow(file) == spec
    file.write_text("jtype: Flow\nexecutors: [{uses: 'docker://x', volumes: ['data:in']}]\n")
    with pytest.raises(ConfigError, match=r'flow.yml:2 executors\[0\].volumes: "data:in": "in" is no place'):
        load_flow(file)
