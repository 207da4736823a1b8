"""What takes more than it may in a cgroup is killed by the kernel, and counted."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.cgroup import bounded, cgroup_fault

pytestmark = pytest.mark.skipif(bool(cgroup_fault()), reason=cgroup_fault())

MEGA = 1 << 20


def test_what_takes_too_much_is_killed_and_what_does_not_is_not() -> None:
    with bounded(64 * MEGA) as cgroup:
        ended = [
            subprocess.run([sys.executable, "-c", f"bytearray({size})"], preexec_fn=cgroup.join, timeout=20).returncode
            for size in (8 * MEGA, 128 * MEGA)
        ]
        assert ended == [0, -signal.SIGKILL]
        assert cgroup.kills == 1
