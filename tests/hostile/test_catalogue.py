"""Every one of the 88 bad inputs has a test of its number, or a reason why it has none."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.hostile.catalogue import INPUTS, NOT_YET

ALSO = ("tests.config.test_plain_yaml",)  # written before this room was, with the same numbers
_NUMBER = re.compile(r"(\d+) \w")


def _modules() -> list[ModuleType]:
    names = sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    return [importlib.import_module(name) for name in (*(f"tests.hostile.{name}" for name in names), *ALSO)]


def _ids(module: ModuleType) -> Iterator[str]:
    """The ids that pytest gives to the tests of `module`, as far as they were written out."""
    for name, function in vars(module).items():
        for mark in getattr(function, "pytestmark", []) if name.startswith("test_") else []:
            if mark.name == "parametrize":
                yield from (parameters.id for parameters in mark.args[1] if getattr(parameters, "id", None))


def _numbers() -> list[int]:
    found = [_NUMBER.match(told) for module in _modules() for told in _ids(module)]
    return [int(match[1]) for match in found if match is not None]


def test_each_input_has_a_test_or_a_reason() -> None:
    assert list(INPUTS) == list(range(1, 89))
    assert set(_numbers()) | set(NOT_YET) == set(INPUTS)


def test_what_has_a_test_needs_no_reason() -> None:
    assert not set(_numbers()) & set(NOT_YET)
