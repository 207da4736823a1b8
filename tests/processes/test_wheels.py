"""pip finds what somebody needs, also for a machine that is another one; what it does not find is told."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.wheelhouse import write_wheel
from zflow.errors import ConfigError
from zflow.processes.wheels import Machine, checked, collect, zflow_wheel

THERE = Machine("3.10", ("manylinux_2_28_aarch64",))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can find."""
    folder = tmp_path / "house"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_what_is_needed_comes_with_what_that_needs(house: Path, tmp_path: Path) -> None:
    write_wheel(house, "app", "library")
    write_wheel(house, "library")
    write_wheel(house, "model")
    write_wheel(house, "unasked")
    (tmp_path / "requirements.txt").write_text("model>=1\n")
    found = collect(["app"], [tmp_path / "requirements.txt"], Machine(), tmp_path / "wheels")
    assert found == ["app-1.0-py3-none-any.whl", "library-1.0-py3-none-any.whl", "model-1.0-py3-none-any.whl"]
    assert sorted(path.name for path in (tmp_path / "wheels").iterdir()) == found


def test_another_machine_takes_what_was_built_for_its_python_and_for_older_libraries(
    house: Path, tmp_path: Path
) -> None:
    write_wheel(house, "fast", tag="cp310-cp310-manylinux_2_17_aarch64")
    write_wheel(house, "fast", tag="cp311-cp311-manylinux_2_17_aarch64")
    write_wheel(house, "fast", tag="cp310-cp310-manylinux_2_31_aarch64")
    write_wheel(house, "fast", tag="cp310-cp310-manylinux_2_17_x86_64")
    assert collect(["fast"], [], THERE, tmp_path / "wheels") == ["fast-1.0-cp310-cp310-manylinux_2_17_aarch64.whl"]


def test_another_machine_gets_what_only_it_needs(house: Path, tmp_path: Path) -> None:
    """pip judges conditions by the Python that runs it, and leaves these out."""
    write_wheel(
        house,
        "app",
        'backport; python_version < "3.11"',
        'boards; platform_machine == "aarch64"',
        'nt; sys_platform == "win32"',
        'more; extra == "more"',
    )
    write_wheel(house, "backport", 'older; python_version < "3.11"')
    for name in ("older", "boards", "nt", "more"):
        write_wheel(house, name)
    found = [name.partition("-")[0] for name in collect(["app"], [], THERE, tmp_path / "wheels")]
    assert found == ["app", "backport", "boards", "older"]


def test_what_is_not_to_be_had_is_told_and_nothing_is_left(house: Path, tmp_path: Path) -> None:
    write_wheel(house, "app", "nowhere")
    with pytest.raises(ConfigError, match="(?s)pip wheel finds no wheels for .*nowhere"):
        collect(["app"], [], Machine(), tmp_path / "wheels")
    assert not (tmp_path / "wheels").exists()


@pytest.mark.parametrize(
    ("machine", "told"),
    [
        (Machine("three"), "python: 'three' is no version such as 3.11"),
        (Machine("3.11", ("--pre",)), "platform: '--pre' is no platform of wheels"),
    ],
)
def test_what_is_no_machine_is_refused(machine: Machine, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        checked(machine)


@pytest.mark.time_limit(120)
def test_our_own_wheel_is_made_of_this_checkout_which_stays_as_it_is(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    before = set(root.iterdir())
    made = [Path(zflow_wheel(tmp_path / name)) for name in ("one", "two") if not (tmp_path / name).mkdir()]
    assert made[0].read_bytes() == made[1].read_bytes()
    names = zipfile.ZipFile(made[0]).namelist()
    assert {"zflow/flow.py", "zflow/templates/bundle/install.sh.txt"} <= set(names)
    assert set(root.iterdir()) == before
