"""A child of the floor says where it is, is waited for in vain only for a while, and ends with its block."""

from __future__ import annotations

import os

import pytest

from bench import children
from bench.machine import family


@pytest.fixture(autouse=True)
def no_process_is_left():
    before = set(family(os.getpid()))
    yield
    assert set(family(os.getpid())) <= before


def test_forked_workers_report_where_they_are_and_end_with_the_block(tmp_path):
    with children.process("fork", str(tmp_path), "3") as child:
        assert len(set(child.addresses(3))) == 3
        assert len(family(child.pid)) == 1 + 3


def test_a_child_that_cannot_bind_is_told_apart_from_a_slow_one(tmp_path):
    missing = f"ipc://{tmp_path}/no-such-folder/worker"
    with (
        children.process("serve", missing, "upper_columns", "plain") as child,
        pytest.raises(RuntimeError, match="ended before it was ready"),
    ):
        child.addresses(1)


def test_a_child_that_says_nothing_is_waited_for_no_longer_than_allowed(monkeypatch, tmp_path):
    monkeypatch.setattr(children, "START_S", 0.0)  # no interpreter is that fast
    with (
        children.process("serve", f"ipc://{tmp_path}/worker", "upper_columns", "plain") as child,
        pytest.raises(TimeoutError, match="the floor's serve reported no address"),
    ):
        child.addresses(1)
