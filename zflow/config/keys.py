"""Keys on disk: the folder that `zflow keygen` makes, who is on its list, and what is wrong with a file in it.

::

    secret.key   this side's pair: who can read it is us; refused when anybody but its owner can
    public.key   what others may know, and put on their lists
    allowed      who may come in: lines of a name, a public key and, if it may not call all of them, endpoint patterns

The list is read again whenever it has changed. It is replaced as a whole (a new file, renamed), so that no reader
finds half of one. Nothing here repeats a key that it was given: it may be a secret one, in the wrong place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config import environment
from zflow.errors import ConfigError, nearest

SECRET, PUBLIC, ALLOWED = "secret.key", "public.key", "allowed"

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"  # Z85, ZeroMQ RFC 32
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_LENGTH = 40
_SECRET_MARK, _PUBLIC_MARK = "secret:", "public:"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PATTERN = re.compile(r"/[A-Za-z0-9_./*?-]{0,127}")
_MOST = 1 << 20  # bytes of a file: ten thousand keys
_MOST_FAULTS = 10


class Identity:
    """Who we are: a key pair. Its secret half is in no repr."""

    __slots__ = ("public", "secret")

    def __init__(self, public: str, secret: str) -> None:
        self.public = public
        self.secret = secret

    def __repr__(self) -> str:
        return "<a key pair>"

    def __reduce__(self) -> Any:
        raise TypeError("a secret key stays where it is: send the name of its folder")


class Entry(NamedTuple):
    """A key on the list: whose it is, and the endpoints it may call (patterns; none: all of them)."""

    name: str
    endpoints: tuple[str, ...] = ()


class Allowed(NamedTuple):
    """A list as it was read: the entries by public key, and what is wrong with the lines that were left out."""

    entries: Mapping[str, Entry]
    faults: tuple[str, ...] = ()


# -- keys ------------------------------------------------------------------------------------------------------------


def checked_key(text: object) -> str:
    """A public key as it should be. Raises ConfigError that says what is wrong, and does not repeat it."""
    if not isinstance(text, str):
        raise ConfigError(f"a public key is text of {_LENGTH} characters, not of type {type(text).__name__}")
    key = text.strip()
    if key.startswith(_SECRET_MARK):
        raise ConfigError(f"this is a secret key, which nobody else may ever see; use the one in {PUBLIC}")
    key = key.removeprefix(_PUBLIC_MARK).strip()
    if len(key) != _LENGTH:
        raise ConfigError(f"a public key has {_LENGTH} characters, this has {len(key)}; `zflow keygen` printed it")
    if not _is_z85(key):
        raise ConfigError(f"this is no public key: its {_LENGTH} characters are not Z85, as `zflow keygen` prints it")
    return key


def _is_z85(text: str) -> bool:
    for at in range(0, len(text), 5):
        value = 0
        for digit in text[at : at + 5]:
            if digit not in _VALUES:
                return False
            value = value * 85 + _VALUES[digit]
        if value > 0xFFFFFFFF:
            return False
    return True


# -- the folder ------------------------------------------------------------------------------------------------------


def default_folder() -> str:
    """Where keys are that nobody names: ZFLOW_KEYS, else ~/.config/zflow/keys."""
    return environment.variable("ZFLOW_KEYS") or os.path.join(os.path.expanduser("~"), ".config", "zflow", "keys")


def create(folder: str | Path, identity: Identity) -> None:
    """Make the folder with this pair and an empty list. Raises ConfigError where there are keys already."""
    folder = Path(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        told = f"# Keep this to yourself: who has it is you.\n{_PUBLIC_MARK} {identity.public}\n"
        _write_new(folder / SECRET, f"{told}{_SECRET_MARK} {identity.secret}\n", 0o600)
        (folder / PUBLIC).unlink(missing_ok=True)
        _write_new(folder / PUBLIC, f"{identity.public}\n", 0o644)
        if not (folder / ALLOWED).exists():
            _write_new(folder / ALLOWED, "", 0o600)
    except FileExistsError:
        told = f"{folder / SECRET} exists already, and whoever trusts it would be locked out"
        raise ConfigError(f"{told}; name another folder (--keys), or remove it first") from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot make keys there: {error.strerror}") from None


def load(folder: str | Path) -> Identity:
    """The pair of a folder. Raises ConfigError that names the file and the remedy."""
    path = Path(folder) / SECRET
    if not path.exists():
        raise ConfigError(f"{folder} has no keys; make them with `zflow keygen --keys {folder}`")
    text = _read(path, forbidden=0o077, remedy=f"chmod 600 {path}, and make new keys if others may have read it")
    marked = dict(line.split(maxsplit=1) for line in text.splitlines() if line.count(" ") == 1)
    public, secret = (marked.get(mark, "").strip() for mark in (_PUBLIC_MARK, _SECRET_MARK))
    if not (len(public) == len(secret) == _LENGTH and _is_z85(public) and _is_z85(secret)) or public == secret:
        raise ConfigError(f"{path} holds no key pair as `zflow keygen` writes it; restore it, or make new keys")
    return Identity(public, secret)


def read_allowed(folder: str | Path) -> Allowed:
    """Who is on the list. A line that is wrong lets nobody in, and is told. Raises ConfigError for the file as such."""
    path = Path(folder) / ALLOWED
    text = _read(path, forbidden=0o022, remedy=f"chmod 600 {path}, and look who is on it")
    entries: dict[str, Entry] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.lstrip().startswith("#"):
            continue
        try:
            entry, key = _checked_line(words)
            entries[key] = entry
        except ConfigError as error:
            faults.append(f"{path}:{number}: {error}")
    return Allowed(entries, tuple(faults[:_MOST_FAULTS]))


def allow(folder: str | Path, name: str, key: str, endpoints: Sequence[str] = ()) -> None:
    """Put `key` on the list as `name`. Raises ConfigError, also where the name or the key is on it already."""
    own = load(folder)
    if key.strip() == own.secret:
        raise ConfigError(f"this is the secret key of {folder}, which nobody else may ever see; make new keys")
    entry, key = _checked_line([name, key, *endpoints])
    with _changing(folder) as lines:
        for line in lines:
            words = line.split()
            if words and (words[0] == name or words[1:2] == [key]):
                raise ConfigError(f"{words[0]} is on the list already; `zflow keys revoke {words[0]}` takes it off")
        lines.append(" ".join((entry.name, key, *entry.endpoints)))


def revoke(folder: str | Path, name: str) -> None:
    """Take `name`, or the key that it is, off the list. Raises ConfigError for one that is not on it."""
    with _changing(folder) as lines:
        kept = [line for line in lines if line.lstrip().startswith("#") or name not in line.split()[:2]]
        if len(kept) == len(lines):
            known = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
            shown = name if _NAME.fullmatch(name) else "this key"
            raise ConfigError(f"{shown} is not on the list: {nearest(name, known)}")
        lines[:] = kept


def _checked_line(words: Sequence[str]) -> tuple[Entry, str]:
    name = words[0]
    if not _NAME.fullmatch(name) or len(words) < 2:
        raise ConfigError("expected a name (letters, digits, _ and -), a public key and endpoint patterns, if any")
    key = checked_key(words[1])
    for pattern in words[2:]:
        if not _PATTERN.fullmatch(pattern):
            raise ConfigError(f"{name}: {pattern!r:.80} is no endpoint, nor a pattern (* and ?) for some")
    return Entry(name, tuple(words[2:])), key


# -- files -----------------------------------------------------------------------------------------------------------


def _read(path: Path, *, forbidden: int, remedy: str) -> str:
    """The text of a file that others must not have had their hands on. forbidden: bits that its mode must not have.

    root may let the group of a service read its file, who is not root itself: so are secrets mounted in containers.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold us up
        with open(descriptor, encoding="utf-8") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise ConfigError(f"{path} is no regular file")
            if about.st_uid == 0 != os.geteuid():
                forbidden &= ~0o040
            if about.st_mode & forbidden:
                others = "read" if forbidden & 0o044 else "write"
                raise ConfigError(f"{path}: others can {others} it (mode {about.st_mode & 0o777:o}); {remedy}")
            if about.st_size > _MOST:
                raise ConfigError(f"{path} is larger than {_MOST} bytes")
            return file.read(_MOST)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text") from None


def _write_new(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)  # whatever the umask is
        file.write(text)
        file.flush()
        os.fsync(descriptor)


@contextlib.contextmanager
def _changing(folder: str | Path) -> Iterator[list[str]]:
    """The lines of the list, to be changed in place; nobody else changes it meanwhile. An exception changes nothing."""
    path = Path(folder) / ALLOWED
    if not Path(folder).is_dir():
        raise ConfigError(f"{folder} has no keys; make them with `zflow keygen --keys {folder}`")
    with _locked(folder):
        text = _read(path, forbidden=0o022, remedy=f"chmod 600 {path}, and look who is on it") if path.exists() else ""
        lines = text.splitlines()
        yield lines
        _replace(path, "".join(f"{line}\n" for line in lines))


@contextlib.contextmanager
def _locked(folder: str | Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Readers find the old file or the new one, whole; a full disk leaves the old one."""
    new = path.with_name(f".{path.name}-{os.urandom(8).hex()}")
    try:
        _write_new(new, text, 0o600)
        os.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
