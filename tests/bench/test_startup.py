"""Probes run in interpreters of their own, and one that fails says why."""

from __future__ import annotations

import os

import pytest

from bench import startup
from bench.machine import family


def test_an_import_is_timed_in_an_interpreter_that_has_imported_nothing():
    already = "__import__('sys').modules.get('dataclasses')"
    assert startup.probe("-c", f"import time; print(float({already} is not None))") == 0.0
    assert 0.0 < startup.time_import("json") < 10_000.0


def test_a_probe_that_fails_says_why():
    with pytest.raises(RuntimeError, match="fresh interpreter failed: ModuleNotFoundError"):
        startup.time_import("no_such_module")


@pytest.mark.parametrize("name", startup.PROBES)
def test_both_sides_can_be_probed(name):
    before = set(family(os.getpid()))
    assert startup.PROBES[name]() > 0.0
    assert set(family(os.getpid())) <= before
