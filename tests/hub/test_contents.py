"""What belongs to the package of an Executor, and what keeps a folder from being one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zflow.config.keys import SECRET
from zflow.errors import ConfigError
from zflow.hub.archive import Limits
from zflow.hub.contents import Contents, contents_of

CONFIG = "jtype: Shout\nmetas:\n  name: shout\n  description: loud\n  py_modules: [executor.py]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "package"
    made.mkdir()
    (made / "config.yml").write_text(CONFIG)
    (made / "executor.py").write_text("raise SystemExit('nobody may import this')\n")
    return made


def contents(folder: Path) -> Contents:
    return contents_of(folder, Limits())


def names(folder: Path) -> list[str]:
    return [entry.name for entry in contents(folder).entries]


def test_everything_belongs_to_it_that_is_neither_hidden_nor_made_of_sources(folder: Path) -> None:
    for name in (".git/config", ".env", "__pycache__/executor.pyc", "old.pyc", "model/a.bin", "README.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert names(folder) == ["README.md", "config.yml", "executor.py", "model/a.bin"]


def test_an_environment_of_python_stays_at_home_and_a_secret_key_is_refused(folder: Path) -> None:
    (folder / "env" / "bin").mkdir(parents=True)
    (folder / "env" / "bin" / "python").symlink_to("/usr/bin/python3")
    (folder / "env" / "pyvenv.cfg").touch()
    assert names(folder) == ["config.yml", "executor.py"]
    (folder / "keys").mkdir()
    (folder / "keys" / SECRET).write_text("hush")
    with pytest.raises(ConfigError, match="is a secret key, which nobody else may have"):
        contents(folder)


def test_its_config_says_what_it_is_called_and_nothing_is_imported(folder: Path) -> None:
    found = contents(folder)
    assert (found.name, found.description, found.definition["jtype"]) == ("shout", "loud", "Shout")
    (folder / "config.yml").write_text("jtype: Shout\n")
    assert (contents(folder).name, contents(folder).description) == ("Shout", "")


def test_requirements_are_read_without_comments(folder: Path) -> None:
    assert contents(folder).requirements == ()
    (folder / "requirements.txt").write_text("# all of it\nnumpy>=1.23  # arrays\n\na==1 \\\n  --hash=sha256:00\n")
    assert contents(folder).requirements == ("numpy>=1.23", "a==1    --hash=sha256:00")


def test_an_executable_file_stays_one(folder: Path) -> None:
    (folder / "run.sh").touch(mode=0o755)
    assert {entry.name: entry.executable for entry in contents(folder).entries} == {
        "config.yml": False,
        "executor.py": False,
        "run.sh": True,
    }


def test_a_link_or_a_device_is_refused_by_name(folder: Path) -> None:
    (folder / "model").symlink_to("/etc")
    with pytest.raises(ConfigError, match="model is a link or no regular file"):
        contents(folder)
    (folder / "model").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(ConfigError, match="pipe is a link or no regular file"):
        contents(folder)


def test_names_that_some_disks_take_for_one_are_refused(folder: Path) -> None:
    (folder / "Executor.py").touch()
    with pytest.raises(ConfigError, match="'executor.py', or names that some disks take for one"):
        contents(folder)


def test_a_name_that_no_archive_can_hold_is_refused(folder: Path) -> None:
    (folder / ("a" * 150)).touch()
    with pytest.raises(ConfigError, match="is too long; rename it"):
        contents(folder)


def test_more_than_is_allowed_is_refused_before_anything_is_packed(folder: Path) -> None:
    with pytest.raises(ConfigError, match="has 2 files and .* more than 1 files"):
        contents_of(folder, Limits(files=1))
    with pytest.raises(
        ConfigError, match="or 100 bytes; let the Executor fetch what is large, or allow more: ZFLOW_HUB_SIZE"
    ):
        contents_of(folder, Limits(size=100))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (None, "has no config.yml; `zflow hub new NAME` writes one"),
        ("jtype: [", "config.yml:2: not valid YAML"),
        ("with: {}", "names no class"),
        ("jtype: A\npy_modules: [other.py]", "py_modules: other.py is not there"),
        ("jtype: A\npy_modules: [../other.py]", "lies outside of"),
    ],
)
def test_a_config_that_serves_nothing_is_refused(folder: Path, config: str | None, told: str) -> None:
    (folder / "config.yml").unlink()
    if config is not None:
        (folder / "config.yml").write_text(config)
    with pytest.raises(ConfigError, match=told):
        contents(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder; name the one that holds"):
        contents(tmp_path / "absent")


def test_requirements_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "requirements.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="requirements.txt cannot be read"):
        contents(folder)
