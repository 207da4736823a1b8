"""Which device a replica gets: ``CUDA_VISIBLE_DEVICES=RR`` gives them out in turn.

``RR`` takes all devices, ``RR1:3`` a slice of them as Python slices a list (1 and 2), ``RR0,2`` those two; names such
as ``RRGPU-8a3f,GPU-91b0`` are given out as they are. Numbers count the devices that can be seen here. What does not
begin with RR is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from zflow.errors import ConfigError

VARIABLE = "CUDA_VISIBLE_DEVICES"

_IN_TURN = "RR"
_SLICE = re.compile(r"(-?\d{0,4}):(-?\d{0,4})")
_NUMBER = re.compile(r"\d{1,4}")
_NAME = re.compile(r"(GPU|MIG)-[A-Za-z0-9/-]+")
_FORMS = "RR, a slice such as RR1:3, or a list such as RR0,2"


def is_in_turn(value: str) -> bool:
    """Whether `value` is no list of devices, but says how replicas get theirs."""
    return value.startswith(_IN_TURN)


def check_devices(value: str) -> None:
    """Raise ConfigError for a value that begins with RR and goes on as nothing that is known."""
    if is_in_turn(value):
        chosen = value.removeprefix(_IN_TURN)
        if chosen and not _SLICE.fullmatch(chosen) and not all(map(_is_device, chosen.split(","))):
            raise ConfigError(f"{VARIABLE}: {value!r:.80} gives out no devices; write {_FORMS}")


def device_of(turn: int, value: str, devices: Sequence[str] | None) -> str:
    """The device of the replica whose turn it is, from 0 on; `devices` are all that there are, None if nobody knows.

    Then the slices that have an end count up to it, and the others count on and on. Raises ConfigError where there is
    no such device, naming those that there are.
    """
    check_devices(value)
    chosen = value.removeprefix(_IN_TURN)
    if devices is None:
        return _by_counting(turn, value, chosen)
    if not chosen:
        among = list(devices)
    elif sliced := _SLICE.fullmatch(chosen):
        among = list(devices[slice(*(int(end) if end else None for end in sliced.groups()))])
    else:
        among = [_picked(item, value, devices) for item in chosen.split(",")]
    if not among:
        raise _missing(value, devices)
    return among[turn % len(among)]


def _is_device(item: str) -> bool:
    return bool(_NUMBER.fullmatch(item) or _NAME.fullmatch(item))


def _picked(item: str, value: str, devices: Sequence[str]) -> str:
    if not item.isdigit():
        return item
    if int(item) >= len(devices):
        raise _missing(value, devices)
    return devices[int(item)]


def _missing(value: str, devices: Sequence[str]) -> ConfigError:
    there = f"there are {len(devices)}, 0 to {len(devices) - 1}" if devices else "there are none"
    return ConfigError(f"{VARIABLE}: {value} asks for a device that is not here: {there}")


def _by_counting(turn: int, value: str, chosen: str) -> str:
    sliced = _SLICE.fullmatch(chosen)
    if chosen and not sliced:
        items = chosen.split(",")
        return items[turn % len(items)]
    first, end = (int(text) if text else None for text in sliced.groups()) if sliced else (0, None)
    first = first or 0
    if first < 0 or (end is not None and end <= first):
        raise ConfigError(
            f"{VARIABLE}: {value} needs the number of devices, which nobody knows here; set CUDA_TOTAL_DEVICES, or "
            "count from the front (RR1:3)"
        )
    return str(first + (turn if end is None else turn % (end - first)))
