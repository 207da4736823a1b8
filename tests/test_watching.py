"""Files that change are told as editors save them: once each, wherever they are, and nothing else is."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.processes import wait_for
from zflow import watching
from zflow.errors import ConfigError
from zflow.processes.logs import Log
from zflow.watching import FileWatch, Watched, watchfiles

LONG_AGO, NOBODY = 0.0, 4e9  # in seconds since the epoch; the second one is after everything


class Ears:
    """Hears what one watch tells."""

    def __init__(self, watched: Watched, began: float = NOBODY) -> None:
        self.heard: list[list[str]] = []
        self.watched = watched
        self.watch = FileWatch(lambda: self.watched, self.heard.append, Log("test"), began)

    @property
    def paths(self) -> list[str]:
        return [path for paths in self.heard for path in paths]

    def wait_for(self, *paths: Path) -> None:
        wait_for(lambda: set(map(str, paths)) <= set(self.paths), f"{paths} to be heard of, not only {self.heard}")

    def _hears_of(self, path: Path) -> bool:
        try:
            wait_for(lambda: str(path) in self.paths, "it", timeout=0.5)
        except AssertionError:
            return False
        return True

    def wait_until_it_watches(self, folder: Path) -> None:
        """Until a file that is written there is heard of."""
        for number in range(200):
            probe = folder / "probe.py"
            probe.write_text(str(number))
            if self._hears_of(probe):
                break
        self.heard.clear()


@pytest.fixture
def listen() -> Iterator[Callable[..., Ears]]:
    listening: list[Ears] = []

    def begin(watched: Watched, began: float = NOBODY) -> Ears:
        listening.append(Ears(watched, began))
        return listening[-1]

    yield begin
    for ears in listening:
        ears.watch.close()


def folders(*paths: Path) -> Watched:
    return Watched(frozenset(), frozenset(map(str, paths)))


def files(*paths: Path) -> Watched:
    return Watched(frozenset(map(str, paths)), frozenset())


# -- what counts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "holds"),
    [
        ("/a/x.py", True),
        ("/a/b/c/x.py", True),
        ("/a/x.txt", False),
        ("/a", False),
        ("/ab/x.py", False),
        ("/a/.hidden.py", False),
        ("/a/.venv/x.py", False),
        ("/a/__pycache__/x.py", False),
        ("/a/node_modules/b/x.py", False),
        ("/b/flow.yml", True),
        ("/b/x.py", False),
    ],
)
def test_files_by_name_and_python_files_below_folders_count(path, holds):
    assert Watched(frozenset({"/b/flow.yml"}), frozenset({"/a"})).holds(path) is holds


def test_a_folder_that_is_passed_over_elsewhere_is_watched_where_it_is_named():
    assert folders(Path("/x/site-packages/mine")).holds("/x/site-packages/mine/a.py")


def test_two_are_watched_as_one():
    both = files(Path("/a.yml")) | folders(Path("/b"))
    assert both == Watched(frozenset({"/a.yml"}), frozenset({"/b"}))


# -- what is told ------------------------------------------------------------------------------------------------------


def test_a_file_that_is_saved_and_nothing_beside_it(tmp_path, listen):
    file = tmp_path / "flow.yml"
    ears = listen(files(file, tmp_path / "probe.py"))
    ears.wait_until_it_watches(tmp_path)
    (tmp_path / "other.yml").write_text("x")
    file.write_text("x")
    ears.wait_for(file)
    assert set(ears.paths) == {str(file)}


def test_several_steps_are_one_change_and_a_mere_touch_of_its_mode_is_none(tmp_path, listen):
    file = tmp_path / "a.py"
    ears = listen(folders(tmp_path))
    ears.wait_until_it_watches(tmp_path)
    with file.open("w") as writing:
        for _ in range(10):
            writing.write("x = 1\n")
            writing.flush()
    ears.wait_for(file)
    file.chmod(0o600)
    (tmp_path / "b.py").write_text("")
    ears.wait_for(tmp_path / "b.py")
    assert ears.paths.count(str(file)) == 1


def test_a_new_folder_is_watched_as_soon_as_it_is_there(tmp_path, listen):
    ears = listen(folders(tmp_path), LONG_AGO)
    ears.wait_until_it_watches(tmp_path)
    inner = tmp_path / "new" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.py").write_text("1")
    ears.wait_for(inner / "a.py")
    (inner / "b.py").write_text("2")
    ears.wait_for(inner / "b.py")


def test_a_folder_that_is_made_anew_is_watched_again(tmp_path, listen):
    home = tmp_path / "home"
    home.mkdir()
    ears = listen(folders(home), LONG_AGO)
    ears.wait_until_it_watches(home)
    (home / "probe.py").unlink()
    home.rmdir()
    ears.wait_for(home / "probe.py")
    home.mkdir()
    (home / "a.py").write_text("1")
    ears.wait_for(home / "a.py")


def test_what_was_saved_before_the_watch_began_is_told_if_it_was_after_all_began(tmp_path, listen):
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    for file, when in ((old, 1_000), (new, 3_000)):
        file.write_text("")
        os.utime(file, (when, when))
    ears = listen(folders(tmp_path), 2_000.0)
    ears.wait_for(new)
    assert ears.heard == [[str(new)]]


def test_something_else_is_watched_when_it_is_told_to_look_again(tmp_path, listen):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    ears = listen(folders(first), LONG_AGO)
    ears.wait_until_it_watches(first)
    ears.watched = folders(second)
    ears.watch.look_again()
    (second / "a.py").write_text("")
    ears.wait_for(second / "a.py")


def test_where_the_system_gives_no_watches_files_are_looked_at_now_and_then(tmp_path, listen, monkeypatch, capsys):
    real = watchfiles()

    def watch(*folders: str, force_polling: bool = False, **options: object) -> object:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        return real.watch(*folders, force_polling=True, poll_delay_ms=20, **options)

    monkeypatch.setattr(watching, "watchfiles", lambda: SimpleNamespace(watch=watch))
    ears = listen(folders(tmp_path), LONG_AGO)
    (tmp_path / "a.py").write_text("")
    ears.wait_for(tmp_path / "a.py")
    ears.wait_until_it_watches(tmp_path)
    assert capsys.readouterr().err.count("because they cannot be watched: OS file watch limit reached") == 1


def test_of_too_many_folders_the_nearest_are_watched_and_that_is_told(tmp_path, listen, monkeypatch, capsys):
    monkeypatch.setattr(watching, "_MOST", 3)
    far = tmp_path / "a" / "b" / "c" / "d"
    far.mkdir(parents=True)
    ears = listen(folders(tmp_path), LONG_AGO)
    (tmp_path / "a" / "b" / "x.py").write_text("")
    ears.wait_for(tmp_path / "a" / "b" / "x.py")
    assert (
        capsys.readouterr().err.count(f"more than 3 folders are not watched: changes in {far.parent} are not noticed")
        == 1
    )


def test_environments_are_not_even_looked_into(tmp_path, monkeypatch):
    for name in ("mine/below", "env/lib", ".git/objects", "node_modules/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    assert list(watching._below([str(tmp_path)])) == [str(tmp_path / "mine"), str(tmp_path / "mine" / "below")]


# -- its end -----------------------------------------------------------------------------------------------------------


def test_after_its_end_nothing_is_told_and_no_thread_is_left(tmp_path):
    before = set(threading.enumerate())
    ears = Ears(folders(tmp_path))
    ears.wait_until_it_watches(tmp_path)
    ears.watch.close()
    ears.watch.close()
    assert set(threading.enumerate()) == before
    (tmp_path / "a.py").write_text("")
    assert ears.heard == []


def test_what_is_missing_or_too_old_is_told_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "watchfiles", SimpleNamespace(__version__="0.17.3"))
    with pytest.raises(ConfigError, match=r"need watchfiles>=0\.18, and 0\.17\.3 is installed: pip install -U"):
        watchfiles()
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigError, match=r"need watchfiles>=0\.18, which is not installed here: pip install"):
        watchfiles()
