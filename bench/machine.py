"""What /proc says about the machine and about our processes: how busy, how much memory. Linux only."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path

LOOK_S = 0.25
QUIET_BELOW = 0.10


def _ticks() -> tuple[int, int]:
    """All ticks since boot and those in which a core did nothing (idle or waiting for a disk)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def busy_share() -> float:
    """How much of all cores is in use (0 to 1) while we do nothing for a quarter of a second."""
    all_before, idle_before = _ticks()
    time.sleep(LOOK_S)
    all_after, idle_after = _ticks()
    return 1.0 - (idle_after - idle_before) / max(1, all_after - all_before)


def state_of(busy: float) -> str:
    """ "quiet", or "busy" with the share that others use. On a quiet machine every wake-up of a core costs extra."""
    return "quiet" if busy < QUIET_BELOW else f"busy ({busy:.0%} used by others)"


def description() -> dict[str, object]:
    """What belongs beside every figure."""
    return {
        "load_average": round(os.getloadavg()[0], 2),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def family(root: int) -> list[int]:
    """`root` and every process descended from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold anything; the parent is the second field after it.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # ended while we looked
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for process in found:
        found.extend(children.get(process, ()))
    return found


def processor_seconds(process: int) -> float:
    """How long the threads of a process have run, to the nanosecond (first field of schedstat)."""
    total = 0
    for thread in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended while we looked
            total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def proportional_megabytes(root: int) -> float:
    """Proportional set size of a process and its descendants, in MB: pages shared by n processes count 1/n in each."""
    total = 0
    for process in family(root):
        try:
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total * 1024 / 1e6
