"""Who we are to a registry, as ``docker login`` has stored it: in its config.json, or with a helper that this names."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config import environment
from zflow.errors import ConfigError
from zflow.processes.errand import run

_PATIENCE = 60.0  # seconds for a helper, which may have to ask its user
_PROGRAM = "docker-credential-"
_NONE_THERE = "credentials not found"  # what helpers print for a registry that they do not know


class Credentials(NamedTuple):
    """A name and its secret. source: who knew them, for messages; the secret is in none."""

    user: str
    secret: str
    source: str

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, from {self.source!r})"


def credentials_for(host: str) -> Credentials | None:
    """Those for the registry at `host`, or None where there are none. Raises ConfigError for a store that is broken."""
    folder = environment.foreign("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    path = Path(folder, "config.json")
    config = _read(path)
    spellings = (host, f"https://{host}", f"http://{host}", f"https://{host}/v2/", f"https://{host}/v1/")
    helpers = _part(config, "credHelpers", path)
    if helper := helpers.get(host) or config.get("credsStore"):
        return _asked(str(helper), host)
    stored = _part(config, "auths", path)
    entry = next((stored[name] for name in spellings if name in stored), None)
    return _decoded(entry, host, path) if entry else None


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}, where docker login stores credentials, cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}, where docker login stores credentials, holds no map")
    return config


def _part(config: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    part = config.get(key) or {}
    if not isinstance(part, dict):
        raise ConfigError(f"{path} {key}: expected a map")
    return part


def _decoded(entry: Any, host: str, path: Path) -> Credentials | None:
    try:
        user, colon, secret = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (KeyError, TypeError):
        return None  # known, but logged out, or with a token for docker alone
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise ConfigError(f"{path}: what is stored for {host} is no user and secret; `docker login {host}` writes it")
    return Credentials(user, secret, str(path))


def _asked(helper: str, host: str) -> Credentials | None:
    """What a helper says. Its name becomes a program's: it may be nothing but a name."""
    if not helper.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(f"{helper!r:.100} cannot name a credential helper")
    program = f"{_PROGRAM}{helper}"
    told = run([program, "get"], given=host, patience=_PATIENCE)
    if told.code != 0:
        if _NONE_THERE in (told.out + told.err).lower():
            return None
        raise ConfigError(f"{program} knows nothing of {host}: {(told.err or told.out).strip()[:200]}")
    try:
        found = json.loads(told.out)
        return Credentials(str(found["Username"]), str(found["Secret"]), program)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{program} answers for {host} what is no user and secret") from None
