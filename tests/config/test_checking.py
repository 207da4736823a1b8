"""All faults of a file, each with its line, and none that would go away with another."""

from __future__ import annotations

from pathlib import Path

import pytest

from zflow.config.checking import Checked, check_file, definition_faults

WRONG = """\
jtype: Flow
version: 2
with:
  port: many
  prt: 3
gateway: {host: 1}
executor: []
executors:
  - name: encoder
    uses: wrong.yml
    replicas: two
    shards: 0
  - name: tagger
    needs: nobody
    uses: {jtype: Tagger, py_modules: [../x.py], wiht: {}}
    env: {A: "${{ ENV.ZF_NOT_THERE }}", B: 1}
  - {port_in: 4, replicas: 3}
  - [no, map]
  - {method: inspect, uses: encoder.yml}
  - uses: Nowhere
"""
FAULTS = [
    "flow.yml:2 version: expected version '1', got 2",
    'flow.yml:4 with.port: expected a whole number, got "many"',
    "flow.yml:5 with.prt: unknown option \"prt\": did you mean 'port'?",
    "flow.yml:6 gateway.host: expected a host, host:port or a list of them, got 1",
    "flow.yml:7 executor: unknown key \"executor\": did you mean 'executors'?",
    'flow.yml:11 executors[0].replicas: expected a whole number, got "two"',
    "flow.yml:12 executors[0].shards: expected a whole number from 1 to 256, got 0",
    'flow.yml:15 executors[1].uses.py_modules[0]: "../x.py" lies outside',
    "flow.yml:15 executors[1].uses.wiht: unknown key",
    "flow.yml:16 executors[1].env.A: the environment has no variable 'ZF_NOT_THERE'",
    "flow.yml:17 executors[2].port_in: replicas cannot share one port",
    "flow.yml:18 executors[3]: expected a map, got ['no', 'map']",
    "flow.yml:19 executors[4].method: expected one of add, needs, needs_all",
    "flow.yml:20 executors[5]: executor5: no Executor class 'Nowhere' is known",
    "wrong.yml:2 wiht: unknown key",
    "wrong.yml:3 metas.nme: unknown key",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "encoder.yml").write_text("jtype: Encoder\npy_modules: [mine.py]\n")
    (tmp_path / "wrong.yml").write_text("jtype: Encoder\nwiht: {}\nmetas: {nme: x}\n")
    return tmp_path


def checked(folder: Path, text: str) -> Checked:
    (folder / "flow.yml").write_text(text)
    return check_file(folder / "flow.yml")


def told(folder: Path, text: str) -> list[str]:
    return [str(fault) for fault in checked(folder, text).faults]


def test_all_faults_are_told_in_the_order_of_lines(folder: Path) -> None:
    found = told(folder, WRONG)
    missing = [fault for fault in FAULTS if not any(line.startswith(fault) for line in found)]
    assert missing == []
    graph = [line for line in found if "'nobody', which is not in the Flow" in line]
    assert len(found) == len(FAULTS) + len(graph)
    lines = [int(line.split()[0].partition(":")[2]) for line in found if line.startswith("flow.yml")]
    assert lines == sorted(lines)


def test_each_fault_has_its_place_apart(folder: Path) -> None:
    fault = next(fault for fault in checked(folder, WRONG).faults if fault.line == 11)
    assert (fault.source, fault.line, fault.path) == ("flow.yml", 11, "executors[0].replicas")
    assert fault.problem == 'expected a whole number, got "two"'


def test_the_graph_is_judged_beside_other_faults_but_not_without_its_names(folder: Path) -> None:
    broken = "jtype: Flow\nexecutors:\n- {name: a, replicas: x}\n- {name: b, needs: [a, c]}\n"
    assert [line.split(":")[1] for line in told(folder, broken)] == ["3 executors[0].replicas", "4 executors[1]"]
    nameless = "jtype: Flow\nexecutors:\n- {name: a-b}\n- {name: b, needs: [a-b, b]}\n"
    assert all("which is not in the Flow" not in line for line in told(folder, nameless))


def test_several_faults_of_the_graph(folder: Path) -> None:
    text = "jtype: Flow\nexecutors:\n- {name: a, needs: x}\n- {name: a}\n- {name: c, needs: c}\n"
    assert [line.split(": ", 1)[0] for line in told(folder, text)] == [
        "flow.yml:3 executors[0]",
        "flow.yml:4 executors[1]",
        "flow.yml:5 executors[2]",
    ]
    circle = "jtype: Flow\nexecutors:\n- {name: a, needs: b}\n- {name: b, needs: a}\n"
    assert told(folder, circle) == ["flow.yml:3 executors: these Executors need each other in a circle: a, b"]


def test_a_file_that_two_executors_name_is_told_of_once(folder: Path) -> None:
    found = told(folder, "jtype: Flow\nexecutors:\n- uses: wrong.yml\n- uses: wrong.yml\n")
    assert len(found) == 2 and all(line.startswith("wrong.yml") for line in found)


def test_what_would_be_refused_at_the_start_is_a_fault(folder: Path) -> None:
    [fault] = told(folder, "jtype: Flow\nwith: {host: 0.0.0.0}\n")
    assert fault.startswith("flow.yml:2 with") and "keygen" in fault and "insecure" in fault


def test_a_flow_that_is_right_lists_the_classes_to_be_found(folder: Path) -> None:
    found = checked(
        folder,
        "jtype: Flow\nexecutors:\n- {name: a, uses: encoder.yml, shards: 2, uses_after: encoder.yml}\n"
        "- {name: b, external: true, host: localhost, port_in: 5}\n- name: c\n  needs: [a, b]\n  quorum: 1\n",
    )
    assert found.faults == () and found.kind == "flow" and found.flow is not None
    named = [(item.node, item.part, item.description.class_name) for item in found.classes]
    assert named == [("a", "uses", "Encoder"), ("a", "uses_after", "Encoder"), ("c", "uses", "Executor")]
    assert str(found.classes[1].place) == "flow.yml:3 executors[0].uses_after"


def test_a_class_is_looked_for_though_another_option_is_wrong(folder: Path) -> None:
    found = checked(folder, "jtype: Flow\nexecutors:\n- {name: a, uses: encoder.yml, replicas: two}\n")
    assert [item.node for item in found.classes] == ["a"] and len(found.faults) == 1
    found = checked(folder, "jtype: Flow\nexecutors:\n- {name: a, uses: encoder.yml, uses_with: 3}\n")
    assert found.classes == () and len(found.faults) == 1


def test_context_and_tags(folder: Path) -> None:
    (folder / "flow.yml").write_text("!Flow\nexecutors:\n- {name: a, replicas: '${{ CONTEXT.n }}'}\n")
    assert check_file(folder / "flow.yml", {"n": 2}).faults == ()
    assert len(check_file(folder / "flow.yml").faults) == 1


def test_a_deployment(folder: Path) -> None:
    found = checked(folder, "jtype: Deployment\nwith:\n  uses: encoder.yml\n  replicas: 2\n  port: 5\n")
    assert (found.kind, found.faults) == ("deployment", ())
    assert found.flow is not None and [item.name for item in found.flow.executors] == ["Encoder"]
    wrong = "jtype: Deployment\nwith:\n  uses: wrong.yml\n  replicas: two\n  prt: 5\n  needs: x\n"
    assert [line.split(" ")[0] for line in told(folder, wrong)] == [
        "flow.yml:4",
        "flow.yml:5",
        "flow.yml:6",
        "wrong.yml:2",
        "wrong.yml:3",
    ]
    both = "jtype: Deployment\nwith: {uses: encoder.yml, port: 1, port_in: 2}\n"
    assert "one option of a Deployment" in told(folder, both)[0]


def test_an_executor(folder: Path) -> None:
    found = check_file(folder / "encoder.yml")
    assert (found.kind, found.faults, [item.part for item in found.classes]) == ("executor", (), ["uses"])
    assert [fault.line for fault in check_file(folder / "wrong.yml").faults] == [2, 3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "flow.yml:2: not valid YAML"),
        ("", "flow.yml: expected the definition of an Executor"),
        ("with: {}", "flow.yml:1 jtype: the definition names no class"),
        ("[1]", "flow.yml:1: expected the definition of an Executor"),
    ],
)
def test_what_is_not_even_a_description(text: str, told: str, folder: Path) -> None:
    (folder / "flow.yml").write_text(text)
    [fault, *_] = check_file(folder / "flow.yml").faults
    assert str(fault).startswith(told)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert ["does not exist" in str(fault) for fault in check_file(tmp_path / "none.yml").faults] == [True]


def test_yaml_faults_of_several_values(folder: Path) -> None:
    text = "jtype: Flow\nwith: {port: *x, port: 1, quiet: !No {}}\nexecutors:\n- {name: a, env: [*y]}\n"
    assert [line.split(" ")[0] for line in told(folder, text)] == ["flow.yml:2"] * 3 + ["flow.yml:4"] * 2


def test_the_keys_of_a_definition_do_not_hide_each_other(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("jtype: a.b\nwith: {1: 2, metas: 3}\nrequests: {x: y, /z: 3}\nwihth: 1\n")
    assert [fault.line for fault in definition_faults(tmp_path / "x.yml")] == [1, 2, 2, 3, 3, 4]


def test_an_image_has_no_class_that_could_be_looked_for_here(folder: Path) -> None:
    found = checked(folder, "jtype: Flow\nexecutors: [{name: boxed, uses: 'docker://me/boxed:1'}]\n")
    assert (found.faults, found.classes) == ((), ())
    text = "jtype: Flow\nexecutors: [{uses: 'docker://x', docker_kwargs: {netwrok: none}}]\n"
    told = [str(fault) for fault in checked(folder, text).faults]
    assert told[0].startswith("flow.yml:2 executors[0].docker_kwargs: unknown name")


def test_a_deployment_of_an_image_is_called_by_its_name(folder: Path) -> None:
    found = checked(folder, "jtype: Deployment\nwith: {uses: 'docker://me/my-boxed:1'}\n")
    assert found.flow is not None
    assert [executor.name for executor in found.flow.executors] == ["my_boxed"]
