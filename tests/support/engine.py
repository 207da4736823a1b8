"""A real container engine for tests, and an image with zflow for it that comes from no registry.

The base is a root that debootstrap makes, with Python and the wheels that zflow needs; on it the repository's own
Dockerfile is built, without a network, from the sources as they are now. Both are made once and kept in the engine
under names that tell what they were made of, so that a second run finds them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
LABEL = "zflow.test=1"
_SUITE = "bookworm"
_PYTHON = "3.11"  # what that suite has
_PACKAGES = "python3,python3-venv,systemd-sysv"
_WHEELS = "/wheels"
_SOURCES = ("Dockerfile", "README.md", "pyproject.toml", "setup.py", "zflow")
_PATIENCE = 600.0  # seconds for a step of a build; a mirror may be slow


def engine_fault() -> str:
    """Why containers cannot be run here; empty where they can."""
    for program in ("docker", "debootstrap"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "only root can make the root of an image"
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    return "" if asked.returncode == 0 else f"no engine: {asked.stderr.strip()[-200:]}"


def docker(*words: str, timeout: float = 60.0, check: bool = True) -> str:
    """What the engine says to a command. Raises AssertionError with its complaint where that fails and `check`."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0 or not check, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@cache
def base_image() -> str:
    """The name of an image with Python, systemd and, in /wheels, what zflow needs. It is made where it is not there."""
    needed = _requirements()
    name = f"zflow-test-base:{_digest(_SUITE, _PYTHON, _PACKAGES, *needed)}"
    with _one_at_a_time():
        if not _is_there(name):
            _make_base(name, needed)
    return name


@cache
def zflow_image() -> str:
    """The name of an image made by the repository's Dockerfile of the sources as they are now."""
    base = base_image()
    name = f"zflow-test:{_digest(base, *_contents())}"
    with _one_at_a_time():
        if not _is_there(name):
            docker("image", "prune", "--all", "--force", "--filter", f"label={LABEL}", "--filter", "until=24h")
            with tempfile.TemporaryDirectory() as folder:
                for source in _SOURCES:
                    _copy(ROOT / source, Path(folder, source))
                build(name, Path(folder), BASE=base)
    return name


def build(name: str, folder: Path, **arguments: str) -> None:
    """`docker build` of a folder that has a Dockerfile, offline. arguments: of the build; pip looks in /wheels only."""
    given = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": _WHEELS, **arguments}
    words = [word for key, value in given.items() for word in ("--build-arg", f"{key}={value}")]
    docker("build", "--network=none", "--label", LABEL, "--tag", name, *words, str(folder), timeout=_PATIENCE)


def _make_base(name: str, needed: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(root))
        wanted = ["--only-binary=:all:", "--python-version", _PYTHON, "--dest", f"{root}{_WHEELS}"]
        _run(sys.executable, "-m", "pip", "download", "--quiet", *wanted, *needed)
        shutil.rmtree(root / "var/cache/apt")
        shutil.rmtree(root / "var/lib/apt/lists")
        _run("tar", "--directory", str(root), "--create", "--file", str(archive), ".")
        docker("import", str(archive), name, timeout=_PATIENCE)


def _requirements() -> list[str]:
    """What zflow says that it needs, and what it is built with."""
    return [*(each for each in metadata.requires("zflow") or () if "extra ==" not in each), "setuptools", "wheel"]


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 0, f"{words[0]}: {(done.stdout + done.stderr)[-2000:]}"


def _is_there(name: str) -> bool:
    return bool(docker("images", "--quiet", name))


def _contents() -> Iterator[str]:
    for source in _SOURCES:
        path = ROOT / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield f"{file.relative_to(ROOT)} {hashlib.sha256(file.read_bytes()).hexdigest()}"


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def _digest(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:12]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Tests run in several processes; who comes second finds what the first one made."""
    with open("/var/lock/zflow-test-images", "w") as lock:  # tests have folders of their own for what is temporary
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
