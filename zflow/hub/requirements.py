"""What an Executor requires, installed for it alone: a folder of packages that only its own processes look through.

It is made by pip, once for the same requirements, Python and machine, and kept in the cache as packages are. What zflow
itself stands on keeps the version that runs already: whoever requires another one is told so by pip.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from importlib import metadata
from pathlib import Path

from zflow.errors import ConfigError, DeadlineExceeded
from zflow.hub.cache import Cache
from zflow.hub.contents import requirements_of
from zflow.loading import REQUIREMENTS
from zflow.processes.errand import run

_PATIENCE = 1800.0  # seconds; large ones are compiled
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def install(folder: Path, cache: Cache | None = None) -> Path | None:
    """The folder of what requirements.txt in `folder` asks for; None where it asks for nothing.

    What pip tells is shown on stderr. Raises ConfigError where pip refuses, and nothing is left of it then.
    """
    lines = requirements_of(folder)
    if not lines:
        return None
    constraints = () if any("--hash" in line for line in lines) else _constraints()
    known = "\n".join((*lines, *constraints, sys.version, platform.platform()))
    digest = hashlib.sha256(known.encode()).hexdigest()
    return (cache or Cache()).keep(f"requirements:{digest}", lambda work: _run_pip(folder, constraints, work))


def _run_pip(folder: Path, constraints: tuple[str, ...], work: Path) -> None:
    if not _has_pip():
        raise ConfigError(f"{sys.executable} has no pip to install {folder / REQUIREMENTS}: python -m ensurepip")
    words = ["--disable-pip-version-check", "--no-input", "install", "--target", str(work)]
    words += ["--requirement", REQUIREMENTS]
    file = work.parent / "constraints.txt"
    if constraints:
        file.write_text("\n".join(constraints))
        words += ["--constraint", str(file)]
    try:
        told = run([sys.executable, "-m", "pip", *words], patience=_PATIENCE, folder=folder, show=True)
    except DeadlineExceeded as error:
        raise ConfigError(f"{folder / REQUIREMENTS}: {error}") from error
    if told.code != 0:
        raise ConfigError(f"pip did not install {folder / REQUIREMENTS}, and has said why; nothing is left of it")


def _has_pip() -> bool:
    """Whether this Python has one, without looking for its module, which setuptools takes for the start of pip."""
    try:
        return bool(metadata.version("pip"))
    except metadata.PackageNotFoundError:
        return False


def _constraints() -> tuple[str, ...]:
    """What zflow stands on, as it is here."""
    needed = [_NAME.match(line) for line in metadata.requires("zflow") or () if "extra ==" not in line]
    return tuple(f"{found[0]}=={metadata.version(found[0])}" for found in needed if found)
