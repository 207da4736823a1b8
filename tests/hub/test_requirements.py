"""What an Executor requires is installed for it alone, once, or not at all."""

from __future__ import annotations

import hashlib
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.wheelhouse import write_wheel
from zflow.errors import ConfigError
from zflow.hub import requirements
from zflow.hub.cache import Cache
from zflow.hub.requirements import install

pytestmark = pytest.mark.time_limit(120)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    made = tmp_path / "wheels"
    made.mkdir()
    return made


def ask_for(folder: Path, wheels: Path, *lines: str) -> None:
    (folder / "requirements.txt").write_text("\n".join(("--no-index", f"--find-links {wheels}", *lines)))


def test_it_is_installed_once_and_nobody_else_sees_it(folder: Path, wheels: Path, cache: Cache) -> None:
    write_wheel(wheels, "zflow_test_thing", version="1.0", files={"zflow_test_thing.py": "VERSION = 1\n"})
    ask_for(folder, wheels, "zflow-test-thing>=1")
    place = install(folder)
    assert place is not None and (place / "zflow_test_thing.py").read_text() == "VERSION = 1\n"
    assert str(place) not in sys.path and cache.root in place.parents
    (wheels / "zflow_test_thing-1.0-py3-none-any.whl").unlink()
    assert install(folder) == place


def test_nothing_is_installed_where_nothing_is_asked_for(folder: Path, cache: Cache) -> None:
    (folder / "requirements.txt").write_text("# nothing\n")
    assert install(folder) is None
    (folder / "requirements.txt").unlink()
    assert install(folder) is None
    assert not cache.root.exists()


def test_what_zflow_stands_on_stays_as_it_is(
    folder: Path, wheels: Path, cache: Cache, capfd: pytest.CaptureFixture[str]
) -> None:
    write_wheel(wheels, "click", version="0.0.1", files={"click.py": ""})
    ask_for(folder, wheels, "click==0.0.1")
    with pytest.raises(ConfigError, match="pip did not install .*requirements.txt, and has said why"):
        install(folder)
    told = capfd.readouterr().err
    assert f"click=={metadata.version('click')}" in told.replace(" ", "")
    assert sorted(path.name for path in cache.root.iterdir()) == ["unfinished"]
    assert list((cache.root / "unfinished").iterdir()) == []


def test_hashes_are_required_where_there_are_some(folder: Path, wheels: Path) -> None:
    made = write_wheel(wheels, "zflow_test_thing", version="1.0", files={"zflow_test_thing.py": ""})
    good = hashlib.sha256(made.read_bytes()).hexdigest()
    ask_for(folder, wheels, f"zflow-test-thing==1.0 --hash=sha256:{'0' * 64}")
    with pytest.raises(ConfigError, match="pip did not install"):
        install(folder)
    ask_for(folder, wheels, f"zflow-test-thing==1.0 --hash=sha256:{good}")
    assert install(folder) is not None


def test_a_python_without_pip_says_how_to_get_it(folder: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_for(folder, wheels, "x")
    monkeypatch.setattr(requirements, "_has_pip", lambda: False)
    with pytest.raises(ConfigError, match="has no pip .*python -m ensurepip"):
        install(folder)


def test_pip_that_takes_too_long_is_ended(folder: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_for(folder, wheels, "x")
    monkeypatch.setattr(requirements, "_PATIENCE", 0.01)
    with pytest.raises(ConfigError, match="took longer than 0.01 s and was ended"):
        install(folder)
