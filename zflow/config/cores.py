"""Which cores a replica is kept on: what `cpus` may be, and what follows from it for each of them.

A number gives each replica so many cores, in turn: with ``cpus=2`` the first one gets cores 0 and 1, the second one 2
and 3, and after the last core comes the first again. A list (``[0, 1]``, ``'0-3'``, ``'0-1,4'``) keeps all of them on
these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from zflow.config.kinds import Kind, Unfit
from zflow.errors import ConfigError

Cpus = int | tuple[int, ...]

MOST = 4096
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_EXPECTED = f"how many cores for each replica (1 to {MOST}), or a list of cores such as [0, 1], '0-3' or '0-1,4'"
_RANGES = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")


def checked_cpus(value: Any) -> Cpus:
    """A number, or the cores in order, each once. Raises Unfit."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST:
        return value
    if isinstance(value, str) and _RANGES.fullmatch(value.replace(" ", "")):
        if value.strip().isdigit():
            raise Unfit(f"a number of cores without quotes, or core {value.strip()} alone as [{value.strip()}]")
        return _in_order(core for item in value.replace(" ", "").split(",") for core in _range(item))
    if isinstance(value, Sequence) and not isinstance(value, str) and value and all(map(_is_core, value)):
        return _in_order(value)
    raise Unfit(_EXPECTED)


def _is_core(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool) and 0 <= item < MOST


def _range(item: str) -> Iterable[int]:
    first, _, last = item.partition("-")
    if last and int(last) < int(first):
        raise Unfit(f"a range that goes up, not {item}")
    return range(int(first), int(last or first) + 1)


def _in_order(cores: Iterable[int]) -> tuple[int, ...]:
    found = tuple(sorted(set(cores)))
    if found[-1] >= MOST:
        raise Unfit(_EXPECTED)
    return found


def _read(word: str) -> Any:
    return int(word) if re.fullmatch(r"\d{1,4}", word) else word


_SHAPE = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": MOST},
        {"type": "string", "pattern": "^ *[0-9]+ *[-,][0-9, -]*$"},
        {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": MOST - 1}, "minItems": 1},
    ]
}
CPUS = Kind("N|CORES", checked_cpus, _read, shape=_SHAPE)


def cores_of(turn: int, cpus: Cpus, available: Sequence[int]) -> tuple[int, ...]:
    """The cores of the replica whose turn it is, from 0 on. Raises ConfigError for cores that are not `available`."""
    if isinstance(cpus, int):
        if cpus > len(available):
            raise ConfigError(f"cpus: {cpus} cores for each replica are more than there are: {spelled(available)}")
        return tuple(sorted(available[(turn * cpus + at) % len(available)] for at in range(cpus)))
    missing = [core for core in cpus if core not in available]
    if missing:
        told = "core" if len(missing) == 1 else "cores"
        raise ConfigError(f"cpus: {told} {spelled(missing)} cannot be used here; there are {spelled(available)}")
    return cpus


def spelled(cores: Sequence[int]) -> str:
    """Cores in short: ``0-3,6``."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
