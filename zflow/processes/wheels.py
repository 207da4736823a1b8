"""Wheels for a machine that has no network, collected by pip: zflow's own, and those of what somebody needs.

pip runs as a process, with the index and the settings that this machine gives it. For this machine it may build
wheels; for another one it takes those that others have built. There pip judges the conditions of requirements
(``; python_version < "3.11"``) by the interpreter that runs it, so that what only the other one needs is found here.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, NamedTuple

from zflow.errors import ConfigError
from zflow.processes.errand import run
from zflow.version import __version__

_PATIENCE = 3600.0  # seconds for one call of pip: a wheel with CUDA has gigabytes
_ALWAYS_THE_SAME = {"SOURCE_DATE_EPOCH": "315532800"}  # 1980: the first moment that an archive of wheels can have
_OF_A_CHECKOUT = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "zflow")
_OLDEST_GLIBC, _OLDEST_MUSL = 17, 1  # what wheels of today are made for, at least
_LIBC = re.compile(r"(manylinux_2|musllinux_1)_(\d{1,2})_(\w+)")
_VERSION = re.compile(r"3\.\d{1,2}")
_TAG = re.compile(r"[a-z0-9_]{3,64}")
_SYSTEMS = {"win": ("win32", "Windows", "nt"), "macosx": ("darwin", "Darwin", "posix")}
_MOST_TOLD = 1500


class Machine(NamedTuple):
    """Where the wheels are for. python: such as 3.11; empty for that of this process. platforms: tags of wheels, such
    as manylinux_2_28_aarch64, whose older glibcs are included; none for this machine."""

    python: str = ""
    platforms: tuple[str, ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether it is this one."""
        return not self.python and not self.platforms

    @property
    def version(self) -> str:
        """Of its Python."""
        return self.python or f"{sys.version_info.major}.{sys.version_info.minor}"


def checked(machine: Machine) -> Machine:
    """Raises ConfigError for what is no version of Python, and for no tags of platforms."""
    if machine.python and not _VERSION.fullmatch(machine.python):
        raise ConfigError(f"python: {machine.python!r:.80} is no version such as 3.11")
    for platform in machine.platforms:
        if not _TAG.fullmatch(platform):
            told = "is no platform of wheels, such as manylinux_2_28_aarch64"
            raise ConfigError(f"platform: {platform!r:.80} {told}; `pip debug --verbose` there lists its own")
    return machine


def collect(needed: Sequence[str], files: Sequence[Path], machine: Machine, folder: Path) -> list[str]:
    """Put the wheels of `needed` and of the requirements in `files`, and of all that these need, into `folder`.

    Raises ConfigError with pip's own words where there are none, and removes what it had by then. Their names, sorted.
    """
    words = [*needed, *(word for file in files for word in ("--requirement", str(file)))]
    while True:
        folder.mkdir(parents=True)
        try:
            if machine.is_here:
                _pip("wheel", "--wheel-dir", str(folder), *words)
            else:
                _pip("download", "--only-binary", ":all:", "--dest", str(folder), *_there(machine), *words)
            further = [] if machine.is_here else sorted(set(_only_needed_there(folder, machine)))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not further:
            return sorted(wheel.name for wheel in folder.iterdir())
        words += further  # resolved with all others, from the beginning
        shutil.rmtree(folder)


def zflow_wheel(folder: Path) -> str:
    """What to ask pip for to have this zflow: a wheel that is made in `folder` of a checkout, else its version."""
    root = Path(__file__).parents[2]
    if not (root / "setup.py").is_file() or (root / "zflow") != Path(__file__).parents[1]:
        return f"zflow=={__version__}"
    with tempfile.TemporaryDirectory(prefix="zflow-wheel-") as copy:  # setuptools leaves its files where it builds
        for name in _OF_A_CHECKOUT:
            source, target = root / name, Path(copy, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_file():
                shutil.copy(source, target)
        _pip("wheel", "--no-deps", "--wheel-dir", str(folder), copy)
    [wheel] = folder.glob("zflow-*.whl")
    return str(wheel)


def _pip(command: str, *words: str) -> None:
    quiet = ("--quiet", "--no-input", "--disable-pip-version-check")
    pip = [sys.executable, "-m", "pip", command, *quiet, *words]
    answer = run(pip, patience=_PATIENCE, changes=_ALWAYS_THE_SAME)
    if answer.code:
        told = (answer.out + answer.err).strip()[-_MOST_TOLD:]
        raise ConfigError(f"pip {command} finds no wheels for {' '.join(words[-8:])}:\n{told}")


def _there(machine: Machine) -> list[str]:
    platforms = [older for platform in machine.platforms for older in _and_older(platform)]
    words = [word for platform in platforms for word in ("--platform", platform)]
    return [*words, "--implementation", "cp", "--python-version", machine.version]


def _and_older(platform: str) -> Iterator[str]:
    """A system takes what was built for an older libc, too (PEP 600); pip takes the tags that it is given."""
    yield platform
    if found := _LIBC.fullmatch(platform):
        libc, minor, architecture = found[1], int(found[2]), found[3]
        oldest = _OLDEST_GLIBC if libc.startswith("many") else _OLDEST_MUSL
        yield from (f"{libc}_{older}_{architecture}" for older in range(minor - 1, oldest - 1, -1))


def _only_needed_there(folder: Path, machine: Machine) -> Iterator[str]:
    """Requirements of the wheels in `folder` that hold on `machine`, and of which there is no wheel."""
    try:
        from packaging.markers import default_environment
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name, parse_wheel_filename
    except ImportError:
        raise ConfigError("wheels for another machine take packaging: pip install 'zflow[bundle]'") from None
    around: Mapping[str, Any] = {**default_environment(), **_conditions(machine), "extra": ""}
    there = {parse_wheel_filename(wheel.name)[0] for wheel in folder.glob("*.whl")}
    for wheel in sorted(folder.glob("*.whl")):
        for text in _requirements_of(wheel):
            requirement = Requirement(text)
            if requirement.marker is None or canonicalize_name(requirement.name) in there:
                continue
            if requirement.marker.evaluate(dict(around)):
                requirement.marker = None
                yield str(requirement)


def _conditions(machine: Machine) -> dict[str, str]:
    found = {"python_version": machine.version, "python_full_version": f"{machine.version}.0"}
    found |= {"implementation_version": f"{machine.version}.0"}
    for platform in machine.platforms[:1]:
        kind = re.split(r"[_\d]", platform)[0]
        system = _SYSTEMS.get(kind, ("linux", "Linux", "posix"))
        found |= dict(zip(("sys_platform", "platform_system", "os_name"), system))
        for architecture in ("x86_64", "aarch64", "armv7l", "i686", "arm64", "ppc64le", "s390x", "riscv64"):
            if platform.endswith(architecture):
                found["platform_machine"] = architecture
    return found


def _requirements_of(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        return HeaderParser().parsestr(archive.read(name).decode("utf-8")).get_all("Requires-Dist") or []
