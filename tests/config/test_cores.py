"""What `cpus` may be, and which cores follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zflow.config.cores import CPUS, cores_of, spelled
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.config.yaml_file import dump_flow, load_flow
from zflow.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "cpus"),
    [
        (1, 1),
        (4, 4),
        ([0, 1], (0, 1)),
        ([3, 1, 3], (1, 3)),
        ((2,), (2,)),
        ("0-3", (0, 1, 2, 3)),
        ("0-1,4", (0, 1, 4)),
        (" 0 - 1, 4", (0, 1, 4)),
        ("2-2", (2,)),
    ],
)
def test_what_it_may_be(given: Any, cpus: Any) -> None:
    assert ExecutorSpec.from_options(cpus=given).cpus == cpus


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (0, "how many cores for each replica"),
        (-1, "how many cores"),
        (True, "how many cores"),
        (1.5, "how many cores"),
        ([], "how many cores"),
        ([True], "how many cores"),
        ([-1], "how many cores"),
        (["0"], "how many cores"),
        ("", "how many cores"),
        ("all", "how many cores"),
        ("0-9999", "how many cores"),
        ("0,,1", "how many cores"),
        ("3-1", "a range that goes up, not 3-1"),
        ("2", r"a number of cores without quotes, or core 2 alone as \[2\]"),
    ],
)
def test_what_it_may_not_be(given: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^cpus: expected {told}.*, got "):
        ExecutorSpec.from_options(cpus=given)


@pytest.mark.parametrize(("word", "cpus"), [("2", 2), ("0-1", (0, 1)), ("0,3", (0, 3))])
def test_on_the_command_line(word: str, cpus: Any) -> None:
    assert CPUS.check(CPUS.read(word)) == cpus


@pytest.mark.parametrize("cpus", [2, [0, 3]])
def test_it_survives_yaml(cpus: Any, tmp_path: Path) -> None:
    spec = FlowSpec.from_options().add(cpus=cpus)
    assert load_flow(dump_flow(spec, tmp_path)) == spec


def test_it_is_nothing_for_an_external_executor() -> None:
    with pytest.raises(ConfigError, match="remove cpus"):
        ExecutorSpec.from_options(external=True, port_in=1, cpus=1)


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        (1, [(0,), (1,), (4,), (0,)]),
        (2, [(0, 1), (0, 4), (1, 4), (0, 1)]),
        (3, [(0, 1, 4)] * 4),
        ((0, 4), [(0, 4)] * 4),
    ],
)
def test_in_turn(cpus: Any, expected: Any) -> None:
    assert [cores_of(turn, cpus, [0, 1, 4]) for turn in range(4)] == expected


@pytest.mark.parametrize(
    ("cpus", "told"),
    [
        (4, "cpus: 4 cores for each replica are more than there are: 0-2"),
        ((1, 7), "cpus: core 7 cannot be used here; there are 0-2"),
        ((3, 4, 9), "cpus: cores 3-4,9 cannot be used here; there are 0-2"),
    ],
)
def test_cores_that_are_not_there_are_refused(cpus: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        cores_of(0, cpus, range(3))


def test_spelled() -> None:
    assert spelled([0, 1, 2, 4, 6, 7]) == "0-2,4,6-7"
    assert spelled([5]) == "5"
