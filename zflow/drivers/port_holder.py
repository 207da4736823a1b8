"""Who holds a port, where the system tells: for the message of PortInUse, and for nothing else.

Linux lists listening sockets with their inodes in /proc/net/tcp (proc(5)), and each process' descriptors in
/proc/<pid>/fd; other systems, and other users' processes, stay silent.
"""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"


def holder_of(port: int) -> str:
    """``"python3 (pid 4711)"``, or an empty string when nobody can be named."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / table, port)}
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # it ended meanwhile, or is not ours to look into
    return ""


def _listening(table: Path, port: int) -> list[str]:
    try:
        rows = [row.split() for row in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [row[9] for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port]
