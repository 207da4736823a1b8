"""`zflow bundle`: a Flow or Deployment as one archive, for a machine that has Python, and no network.

In it are the wheels of zflow and of all that it needs, the folder of the YAML, units of systemd, and a script that
checks and installs them. Packed again from the same files and the same wheels it is the same, byte by byte. What is
nobody else's business stays at home: hidden files, secret keys, environments of Python.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config.checking import check_file
from zflow.config.deployment import DeploymentSpec
from zflow.config.keys import SECRET
from zflow.config.references import is_reference
from zflow.errors import ConfigError
from zflow.exporting import Spec, exported_name, plain_path, to_systemd
from zflow.exports.systemd import FIRST_PORT
from zflow.processes.wheels import Machine, checked, collect, zflow_wheel

CONFIG = "/etc/zflow"
_SUFFIXES = (".tar.gz", ".tgz", ".tar")
_TEMPLATE = Path(__file__).parent / "templates" / "bundle" / "install.sh.txt"
_REQUIREMENTS = "requirements.txt"
_EXECUTABLE, _PLAIN = 0o755, 0o644


class Wishes(NamedTuple):
    """folder: where it will be on that machine, /opt/NAME by default. machine: what the wheels are for. require: what
    pip shall pack besides. with_requirements: also what requirements.txt of Executors say. leave_out: patterns of
    files. keys: the folder of keys there; /etc/zflow/NAME-keys where the Flow has keys. first_port: see systemd."""

    folder: str = ""
    machine: Machine = Machine()
    require: tuple[str, ...] = ()
    with_requirements: bool = False
    leave_out: tuple[str, ...] = ()
    keys: str = ""
    first_port: int = FIRST_PORT


class Bundle(NamedTuple):
    """What was packed. digest: the SHA-256 of the archive. left_out: folders and files, with why."""

    path: Path
    digest: str
    files: tuple[str, ...]
    wheels: tuple[str, ...]
    left_out: tuple[str, ...]


def bundle(spec: Spec, file: Path, archive: Path, wishes: Wishes, context: Mapping[str, Any] | None = None) -> Bundle:
    """Pack `spec`, which `file` describes with `context`, into `archive`, which is there as a whole or not at all.

    Raises ConfigError for what cannot run on another machine.
    """
    if not archive.name.endswith(_SUFFIXES):
        raise ConfigError(f"{archive}: end its name with one of {', '.join(_SUFFIXES)}")
    checked(wishes.machine)
    _check_all_is_here(spec)
    with tempfile.TemporaryDirectory(prefix="zflow-bundle-") as made:
        stage = Path(made)
        name = exported_name(spec, file.parent)
        wishes = _completed(wishes, spec, name)
        _write_units(spec, file, stage / "units", wishes)
        files, left_out = _copy_files(file.parent, stage / "files", archive, wishes.leave_out)
        _check_there(stage / "files" / file.name, context)
        wheels = _collect_wheels(stage, files, wishes)
        _write_sums(stage)
        _write_script(stage / "install.sh", name, spec, file, wishes)
        digest = _pack(stage, archive, name)
    return Bundle(archive, digest, tuple(files), tuple(wheels), tuple(left_out))


def _check_all_is_here(spec: Spec) -> None:
    """Raise ConfigError for what is in a registry, which a machine without network cannot ask."""
    executors = (spec.executor,) if isinstance(spec, DeploymentSpec) else spec.executors
    for executor in executors:
        for uses in filter(is_reference, (executor.uses, executor.uses_before, executor.uses_after)):
            told = f"{executor.name or 'uses'}: {uses} is in a registry, which a machine without network cannot ask"
            raise ConfigError(f"{told}; zflow hub pull {uses} --to FOLDER, here, and name FOLDER/config.yml")


def _completed(wishes: Wishes, spec: Spec, name: str) -> Wishes:
    """With the paths that nobody named."""
    front = spec.front if isinstance(spec, DeploymentSpec) else spec
    keys = wishes.keys or (f"{CONFIG}/{name}-keys" if front.keys else "")
    folder = plain_path("folder", wishes.folder or f"/opt/{name}")
    return wishes._replace(folder=folder, keys=keys and plain_path("keys", keys))


def _write_units(spec: Spec, file: Path, folder: Path, wishes: Wishes) -> None:
    to_systemd(
        spec,
        folder,
        program=f"{wishes.folder}/current/venv/bin/zflow",
        folder=file.parent,
        directory=f"{wishes.folder}/current/files",
        first_port=wishes.first_port,
        config=CONFIG,
        keys_directory=wishes.keys or None,
    )
    (folder / "NOTES.txt").unlink()  # what it says is what install.sh does


# -- files -----------------------------------------------------------------------------------------------------------


def _copy_files(source: Path, target: Path, archive: Path, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the folder that may leave it, and what stays, with why."""
    taken: list[str] = []
    left_out: list[str] = []
    for path in _walk(source, source, left_out, patterns):
        below = str(path.relative_to(source))
        if path.resolve() == archive.resolve():
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(source.resolve()):
            raise ConfigError(f"{path} leads out of {source}, which is all that is packed; copy it, or leave it out")
        if not path.is_file():
            left_out.append(f"{below}: no file")
            continue
        (target / below).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / below)
        (target / below).chmod(_EXECUTABLE if path.stat().st_mode & 0o100 else _PLAIN)
        taken.append(below)
    return taken, left_out


def _walk(folder: Path, root: Path, left_out: list[str], patterns: Sequence[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        below = str(path.relative_to(root))
        if path.name.startswith(".") or path.name in ("__pycache__", "node_modules") or path.name.endswith(".egg-info"):
            continue
        if any(fnmatch(below, pattern) for pattern in patterns):
            left_out.append(f"{below}: left out")
        elif path.is_dir() and not path.is_symlink():
            if (path / SECRET).exists():
                left_out.append(f"{below}: holds a secret key")
            elif (path / "pyvenv.cfg").exists():
                left_out.append(f"{below}: an environment of this machine's Python")
            else:
                yield from _walk(path, root, left_out, patterns)
        elif path.name == SECRET:
            left_out.append(f"{below}: a secret key")
        else:
            yield path


def _check_there(file: Path, context: Mapping[str, Any] | None) -> None:
    """Raise ConfigError where the copy lacks what the YAML names."""
    faults = check_file(file, context).faults
    if faults:
        told = "\n".join(str(fault) for fault in faults)
        raise ConfigError(f"what is packed would not run: only files in the folder of {file.name} are\n{told}")


# -- wheels ----------------------------------------------------------------------------------------------------------


def _collect_wheels(stage: Path, files: Sequence[str], wishes: Wishes) -> list[str]:
    lists = [stage / "files" / name for name in files if Path(name).name == _REQUIREMENTS]
    with tempfile.TemporaryDirectory(prefix="zflow-own-") as own:
        needed = [zflow_wheel(Path(own)), "pip", *wishes.require]  # pip: the Python there may have none
        return collect(needed, lists if wishes.with_requirements else (), wishes.machine, stage / "wheels")


# -- the archive -----------------------------------------------------------------------------------------------------


def _write_sums(stage: Path) -> None:
    paths = sorted(path for path in stage.rglob("*") if path.is_file())
    lines = [f"{_digest(path)}  {path.relative_to(stage)}\n" for path in paths]
    (stage / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        found = hashlib.sha256()
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def _write_script(path: Path, name: str, spec: Spec, file: Path, wishes: Wishes) -> None:
    words = {
        "NAME": name,
        "FOLDER": wishes.folder,
        "CONFIG": CONFIG,
        "KEYS": wishes.keys,
        "PYTHON": wishes.machine.version,
        "COMMAND": "deployment" if isinstance(spec, DeploymentSpec) else "flow",
        "FILE": file.name,
    }
    text = _TEMPLATE.read_text("utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    path.write_text(text, encoding="utf-8")
    path.chmod(_EXECUTABLE)


def _pack(stage: Path, archive: Path, name: str) -> str:
    """Write the archive, in which nothing tells when, where and by whom it was made. Its digest."""
    unfinished = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        with open(unfinished, "wb") as raw:
            if archive.name.endswith(".tar"):
                _write_members(stage, raw, name)
            else:
                with gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
                    _write_members(stage, packed, name)
            raw.flush()
            os.fsync(raw.fileno())
        digest = _digest(unfinished)
        os.replace(unfinished, archive)
    except OSError as error:
        raise ConfigError(f"{archive} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return digest


def _write_members(stage: Path, target: object, name: str) -> None:
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as packed:  # type: ignore[call-overload]
        for path in sorted(path for path in stage.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(f"{name}/{path.relative_to(stage)}")
            member.size = path.stat().st_size
            member.mode = _EXECUTABLE if path.stat().st_mode & 0o100 else _PLAIN
            with open(path, "rb") as file:
                packed.addfile(member, file)
