"""``CUDA_VISIBLE_DEVICES=RR`` and its forms."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from zflow.config.devices import check_devices, device_of, is_in_turn
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.errors import ConfigError


def given_out(value: str, devices: Sequence[str] | None, replicas: int = 5) -> str:
    return " ".join(device_of(turn, value, devices) for turn in range(replicas))


@pytest.mark.parametrize(
    ("value", "devices", "expected"),
    [
        ("RR", "0123", "0 1 2 3 0"),
        ("RR", "0", "0 0 0 0 0"),
        ("RR", "57", "5 7 5 7 5"),
        ("RR1:3", "0123", "1 2 1 2 1"),
        ("RR1:", "0123", "1 2 3 1 2"),
        ("RR:2", "0123", "0 1 0 1 0"),
        ("RR-2:", "0123", "2 3 2 3 2"),
        ("RR0,2", "0123", "0 2 0 2 0"),
        ("RR2", "0123", "2 2 2 2 2"),
        ("RR1,0", "57", "7 5 7 5 7"),
        ("RRGPU-8a,MIG-9b/1/0", "0", "GPU-8a MIG-9b/1/0 GPU-8a MIG-9b/1/0 GPU-8a"),
    ],
)
def test_in_turn(value: str, devices: str, expected: str) -> None:
    assert given_out(value, devices) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("RR", "0 1 2 3 4"), ("RR1:3", "1 2 1 2 1"), ("RR2:", "2 3 4 5 6"), ("RR:2", "0 1 0 1 0"), ("RR0,2", "0 2 0 2 0")],
)
def test_where_nobody_knows_how_many_there_are_replicas_are_counted(value: str, expected: str) -> None:
    assert given_out(value, None) == expected


@pytest.mark.parametrize("value", ["RR-2:", "RR:-1", "RR3:1"])
def test_some_forms_need_the_number(value: str) -> None:
    with pytest.raises(ConfigError, match="needs the number of devices.*CUDA_TOTAL_DEVICES"):
        device_of(0, value, None)


@pytest.mark.parametrize(
    ("value", "devices", "there"),
    [("RR0,4", "01", "there are 2, 0 to 1"), ("RR5:7", "01", "there are 2, 0 to 1"), ("RR", "", "there are none")],
)
def test_a_device_that_is_not_there_is_refused(value: str, devices: str, there: str) -> None:
    with pytest.raises(ConfigError, match=f"CUDA_VISIBLE_DEVICES: {value} asks for a device that is not here: {there}"):
        given_out(value, devices)


@pytest.mark.parametrize("value", ["RRx", "RR1:2:3", "RR,", "RR0,", "RR 1", "RR-1", "RR1;2", "RRR"])
def test_a_bad_form_is_refused_by_name_where_it_is_given(value: str) -> None:
    with pytest.raises(ConfigError, match=f"^env: CUDA_VISIBLE_DEVICES: '{value}' gives out no devices; write RR"):
        ExecutorSpec.from_options(env={"CUDA_VISIBLE_DEVICES": value})
    with pytest.raises(ConfigError, match="gives out no devices"):
        FlowSpec.from_options(env={"CUDA_VISIBLE_DEVICES": value})


@pytest.mark.parametrize("value", ["", "0", "1,2", "GPU-8a", "-1"])
def test_what_does_not_begin_with_rr_is_left_as_it_is(value: str) -> None:
    assert not is_in_turn(value)
    check_devices(value)
    assert ExecutorSpec.from_options(env={"CUDA_VISIBLE_DEVICES": value}).env["CUDA_VISIBLE_DEVICES"] == value


def test_other_variables_may_hold_anything() -> None:
    assert ExecutorSpec.from_options(env={"MODE": "RRx"}).env == {"MODE": "RRx"}
