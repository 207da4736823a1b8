"""What /proc says is read rightly."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import machine


@pytest.mark.parametrize(("busy", "told"), [(0.0, "quiet"), (0.09, "quiet"), (0.5, "busy (50% used by others)")])
def test_a_machine_is_quiet_while_others_use_less_than_a_tenth(busy, told):
    assert machine.state_of(busy) == told


def test_the_busy_share_is_that_of_all_cores_between_two_looks(monkeypatch):
    looks = iter([(1_000, 600), (1_200, 750)])
    monkeypatch.setattr(machine, "_ticks", lambda: next(looks))
    monkeypatch.setattr(machine, "LOOK_S", 0.0)
    assert machine.busy_share() == pytest.approx(0.25)


def test_ticks_count_idle_among_all():
    everything, idle = machine._ticks()
    assert 0 < idle < everything


def test_a_family_is_a_process_with_its_descendants_and_their_memory_counts():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        assert len(machine.family(child.pid)) == 2
        assert child.pid in machine.family(os.getpid())
        both = machine.proportional_megabytes(child.pid)
    finally:
        child.communicate(b"\n", timeout=10)
    assert 1.0 < both < 100.0
    assert machine.proportional_megabytes(child.pid) == 0.0


def test_the_description_says_what_belongs_beside_a_figure():
    assert set(machine.description()) == {"load_average", "cores", "python", "machine"}


def test_processor_time_grows_with_work():
    before = machine.processor_seconds(os.getpid())
    while machine.processor_seconds(os.getpid()) - before < 0.01:
        sum(range(10_000))
