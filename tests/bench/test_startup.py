"""Probes run in interpreters of their own, and one that fails says why."""

from __future__ import annotations

import os

import pytest

from bench import startup
from bench.machine import family


def test_an_import_is_timed_in_an_interpreter_that_has_imported_nothing(tmp_path):
    already = "__import__('sys').modules.get('dataclasses')"
    assert startup.probe(str(tmp_path), "-c", f"import time; print(float({already} is not None))") == 0.0
    with startup.SIDES["start-import"]["zflow"]() as block:
        assert 0.0 < min(block(2)) < 10_000.0


def test_compiled_modules_are_kept_between_probes_even_where_they_may_not_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    startup.probe(str(tmp_path), "-c", "import bench.measuring; print(0)")
    assert list(tmp_path.rglob("measuring*.pyc"))


def test_a_probe_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="fresh interpreter failed: ModuleNotFoundError"):
        startup.probe(str(tmp_path), "-c", "import no_such_module")


@pytest.mark.parametrize("name", startup.PROBES)
def test_both_sides_can_be_probed(name):
    before = set(family(os.getpid()))
    assert startup.PROBES[name]() > 0.0
    assert set(family(os.getpid())) <= before
