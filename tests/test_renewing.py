"""What is made of files that change is renewed: once for each change, and given up for the next one."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_for
from zflow.config.spec import ExecutorSpec
from zflow.errors import ConfigError, StartError
from zflow.executor import Executor
from zflow.processes.logs import Log
from zflow.processes.watch import Progress
from zflow.renewing import Renewing, Subject, check_watched, forget_compiled, yaml_files
from zflow.watching import Watched


class House:
    """Renews what it is told to, and does meanwhile what a test wants."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.files = {name: folder / f"{name}.yml" for name in names}
        self.renewed: list[tuple[str, list[str]]] = []
        self.given_up: list[str] = []
        self.meanwhile: Callable[[str, Progress], None] = lambda name, look: None
        self.log = Log("test")

    def subjects(self) -> Iterator[Subject]:
        for name, file in self.files.items():
            yield Subject(
                name,
                Watched(frozenset([str(file)])),
                lambda paths, look, name=name: self.renew(name, paths, look),  # type: ignore[misc]
            )

    def renew(self, name: str, paths: list[str], look: Progress) -> None:
        self.renewed.append((name, paths))
        try:
            self.meanwhile(name, look)
        except Exception:
            self.given_up.append(name)
            raise

    def change(self, name: str, text: str = "") -> None:
        before = len(self.renewed)
        self.files[name].write_text(text)
        wait_for(lambda: len(self.renewed) > before, f"{name} to be renewed")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., House]]:
    renewing: list[Renewing] = []

    def begin(*names: str) -> House:
        house = House(tmp_path, *names)
        renewing.append(Renewing(house.subjects, house.log, 0.0))
        return house

    yield begin
    for one in renewing:
        one.close()
        one.join()


def test_each_subject_is_told_what_concerns_it(opened):
    house = opened("a", "b")
    house.change("a")
    house.change("b")
    house.change("a", "again")
    assert house.renewed == [(name, [str(house.files[name])]) for name in ("a", "b", "a")]


def test_who_is_asked_for_again_gives_up_what_has_begun(opened):
    house = opened("a", "b")

    def hang(name: str, look: Progress) -> None:
        if len(house.renewed) == 1:
            house.files["b"].write_text("")  # which is none of its business
            house.files["a"].write_text("again")
            while True:
                threading.Event().wait(0.01)
                look(["a"], [])

    house.meanwhile = hang
    house.change("a")
    wait_for(lambda: len(house.renewed) == 3, "both to be renewed")
    assert house.given_up == ["a"] and {name for name, _ in house.renewed[1:]} == {"a", "b"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("a.yml:3 with: no"), "a serves on as it was before the change: a.yml:3 with: no"),
        (StartError("no", traceback="line 1"), "before the change: no\n\nIts own traceback:\nline 1"),
        (RuntimeError("ours"), "RuntimeError('ours')"),
    ],
)
def test_what_fails_is_told_and_the_next_change_is_the_next_chance(opened, capsys, error, told):
    house = opened("a")

    def fail(name: str, look: Progress) -> None:
        if len(house.renewed) == 1:
            raise error

    house.meanwhile = fail
    house.change("a")
    house.change("a", "again")
    assert capsys.readouterr().err.count(told) == 1


def test_who_wants_no_details_gets_none(opened, capsys):
    house = opened("a")
    house.log.quiet_error = True

    def fail(name: str, look: Progress) -> None:
        raise StartError("no", traceback="line 1")

    house.meanwhile = fail
    house.change("a")
    house.change("a", "again")
    told = capsys.readouterr().err
    assert "before the change: no" in told and "line 1" not in told


def test_its_end_gives_up_what_has_begun_and_says_nothing(tmp_path, capsys):
    house = House(tmp_path, "a")

    def hang(name: str, look: Progress) -> None:
        while True:
            threading.Event().wait(0.01)
            look(["a"], [])

    house.meanwhile = hang
    before = set(threading.enumerate())
    renewing = Renewing(house.subjects, house.log, 0.0)
    house.change("a")
    renewing.close()
    renewing.join()
    assert set(threading.enumerate()) == before and house.given_up == ["a"] and capsys.readouterr().err == ""


def test_the_files_that_describe_an_executor():
    spec = ExecutorSpec.from_options(uses="/a.yml", uses_before=Executor, uses_after="/b.yml")
    assert yaml_files(spec) == {"/a.yml", "/b.yml"}
    assert yaml_files(ExecutorSpec.from_options(uses="Some")) == frozenset()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reload": True}, "a: reload watches the files of a class, and there is none; give `uses`"),
        ({"restart": True, "uses": "Some"}, "a: restart watches the YAML file that `uses` names.*say reload"),
    ],
)
def test_what_was_asked_for_and_cannot_be_watched_is_refused(options: dict[str, Any], told):
    spec = ExecutorSpec.from_options(**options)
    with pytest.raises(ConfigError, match=told):
        check_watched("a", spec)
    check_watched("a", ExecutorSpec.from_options(uses="/a.yml", reload=True, restart=True))
    check_watched("a", ExecutorSpec.from_options(restart=True), is_in_file=True)


def test_the_compiled_form_of_what_has_changed_is_forgotten(tmp_path):
    source = tmp_path / "a.py"
    compiled = Path(importlib.util.cache_from_source(str(source)))
    compiled.parent.mkdir()
    compiled.touch()
    forget_compiled([str(source), str(tmp_path / "never.py")])
    assert not compiled.exists()
