"""A file is saved whole or not at all, whatever the disk and the process do meanwhile."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zflow import ConfigError, Executor, WorkspaceError
from zflow.saving import clean, place, saving

BEFORE = b"before" * 100


class Keeper(Executor):
    """Has a workspace."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "index.bin"
    made.write_bytes(BEFORE)
    return made


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(workspace=str(tmp_path))


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", "size=64k", "none", str(folder))
    yield mounted
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file in it, where not even root may write."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    (folder / "index.bin").write_bytes(BEFORE)
    mounted = _mount("--bind", str(folder), str(folder))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
    yield mounted
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*arguments: str) -> Path:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"mounting is not allowed here: {getattr(error, 'stderr', '') or error}")
    return Path(arguments[-1])


# -- all goes well -----------------------------------------------------------------------------------------------------


def test_the_new_content_takes_the_place_of_the_old_at_the_end(path: Path) -> None:
    with saving(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == BEFORE
    assert path.read_bytes() == b"after"
    assert names(path.parent) == ["index.bin"]


def test_a_file_that_was_not_there_is_made(tmp_path: Path) -> None:
    with saving(tmp_path / "new.txt", text=True) as file:
        file.write("schön")
    assert (tmp_path / "new.txt").read_bytes() == "schön".encode()


def test_it_is_on_the_disk_before_it_has_its_name_and_the_name_before_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}") if sys.platform == "linux" else ""
        done.append("folder" if target == str(path.parent) else "file")
        fsync(descriptor)

    def note_replace(old: str, new: str) -> None:
        done.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    with saving(path) as file:
        file.write(b"after")
    assert done == ["file", "replace", "folder"]


def test_the_block_may_close_the_file(path: Path) -> None:
    with saving(path) as file:
        file.write(b"after")
        file.close()
    assert path.read_bytes() == b"after"


# -- it does not -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), FileNotFoundError(2, "no", "other.txt")])
def test_what_the_block_raises_leaves_everything_as_it_was(path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, saving(path) as file:
        file.write(b"half")
        raise error
    assert raised.value is error
    assert (path.read_bytes(), names(path.parent)) == (BEFORE, ["index.bin"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_what_the_disk_refuses_is_told_with_path_and_remedy(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    if step != "write":
        monkeypatch.setattr(os, step, refuse)
    with pytest.raises(WorkspaceError) as raised, saving(path) as file:
        file.write(b"half")
        if step == "write":
            refuse()
    told = str(raised.value)
    assert str(path) in told and os.strerror(number) in told and "or give another workspace" in told
    assert (raised.value.errno, raised.value.filename) == (number, str(path))
    monkeypatch.undo()
    assert (path.read_bytes(), names(path.parent)) == (BEFORE, ["index.bin"])


def test_a_folder_that_cannot_be_brought_to_the_disk_is_no_old_content(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    answers = iter([fsync])

    def refuse_second(descriptor: int) -> None:
        next(answers, _refuse)(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_second)
    with pytest.raises(WorkspaceError, match="it has its new content, but"), saving(path) as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"


def _refuse(_: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_full_disk(tiny: Path) -> None:
    path = tiny / "index.bin"
    with saving(path) as file:
        file.write(BEFORE)
    with pytest.raises(WorkspaceError, match="No space left on device.*free some space") as raised:
        with saving(path) as file:
            file.write(bytes(1 << 20))
    assert raised.value.errno == errno.ENOSPC
    assert (path.read_bytes(), names(tiny)) == (BEFORE, ["index.bin"])
    with saving(path) as file:  # nothing is used up by what failed
        file.write(b"a" * 40_000)
    assert path.stat().st_size == 40_000


def test_a_read_only_disk(read_only: Path) -> None:
    with (
        pytest.raises(WorkspaceError, match="Read-only file system.*writable") as raised,
        saving(read_only / "index.bin") as file,
    ):
        file.write(b"after")
    assert raised.value.errno == errno.EROFS
    assert (read_only / "index.bin").read_bytes() == BEFORE


# -- killed ------------------------------------------------------------------------------------------------------------

_WRITER = """
import sys
from pathlib import Path
from zflow.saving import saving
path, number = Path(sys.argv[1]), 0
while True:
    number += 1
    with saving(path) as file:
        for _ in range(50):
            file.write(b"%08d" % number)
            file.flush()
    if number == 3:
        print("saving", flush=True)
"""


def test_killed_in_between_the_file_is_the_old_or_the_new_one_never_torn(tmp_path: Path) -> None:
    path = tmp_path / "index.bin"
    left_behind = 0
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"saving\n"
            clean(tmp_path)  # of a living process nothing is taken
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        content = path.read_bytes()
        assert len(content) == 400 and len({content[at : at + 8] for at in range(0, 400, 8)}) == 1
        left_behind += len(names(tmp_path)) - 1
        clean(tmp_path)
        assert names(tmp_path) == ["index.bin"]
    assert left_behind <= 8


def test_what_a_killed_process_left_is_removed_but_not_what_somebody_writes(path: Path) -> None:
    dead = path.parent / ".index.bin.0123.unfinished"
    dead.write_bytes(b"half")
    (path.parent / "unfinished").write_bytes(b"a file of the user's")
    with saving(path) as file:
        clean(path.parent)
        assert len(names(path.parent)) == 3 and not dead.exists()
        file.write(b"after")
    assert names(path.parent) == ["index.bin", "unfinished"]
    assert path.read_bytes() == b"after"
    clean(path.parent / "nowhere")


def test_who_was_cleaned_away_before_the_lock_begins_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    flock, swept = fcntl.flock, []

    def be_late(descriptor: int, how: int) -> None:
        if not swept:
            swept.append(descriptor)
            clean(path.parent)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", be_late)
    with saving(path) as file:
        file.write(b"after")
    assert swept and path.read_bytes() == b"after"


# -- in an Executor ----------------------------------------------------------------------------------------------------


def test_an_executor_saves_in_its_workspace(keeper: Keeper) -> None:
    with keeper.saving("index.bin") as file:
        file.write(b"state")
    with keeper.saving("notes/today.txt", text=True) as notes:
        notes.write("all well")
    folder = Path(keeper.workspace)
    assert (folder / "index.bin").read_bytes() == b"state"
    assert (folder / "notes" / "today.txt").read_text() == "all well"


def test_it_cleans_once_each_folder_that_it_saves_in(keeper: Keeper) -> None:
    folder = Path(keeper.workspace)
    left = folder / ".x.1.unfinished"
    for is_left in (False, True):
        left.write_bytes(b"half")
        with keeper.saving("index.bin") as file:
            file.write(b"state")
        assert left.exists() is is_left


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "", ".", "a/../../out", "nul\0", "x.unfinished", "link/x"])
def test_a_name_that_leads_out_is_refused(keeper: Keeper, name: str, tmp_path: Path) -> None:
    (Path(keeper.workspace) / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="inside of the workspace"), keeper.saving(name):
        pass
    assert names(tmp_path) == ["Keeper"]


def test_a_folder_that_cannot_be_made_is_told_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(WorkspaceError, match="file/x cannot be saved"):
        place(str(tmp_path), "file/x")
