"""One registry of containers, asked over HTTP: manifests, blobs, tags and names. The library is oras, an extra.

oras knows the paths, the order of an upload and how tokens are fetched. What it does not: it waits for ever, tries what
failed for two minutes, believes whatever bytes come and sends secrets wherever it is told to. So each of its requests
goes through `Registry._ask`, and here every wait has a deadline, every byte is counted and every digest is computed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from zflow.config.references import Home
from zflow.errors import AuthError, ConfigError, HubError, Unavailable
from zflow.hub.archive import nothing
from zflow.hub.credentials import Credentials, credentials_for

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MANIFEST_SIZE = 4 << 20  # what the distribution specification lets a registry refuse beyond
INDEX = "application/vnd.oci.image.index.v1+json"
_OTHERS = (
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_TIMEOUTS = (5.0, 30.0)  # seconds to connect, and between bytes
_SLOWEST = 16 << 10  # bytes per second that are worth waiting for
_PATIENCE = 60.0  # seconds for any answer, besides
_PIECE = 1 << 20
_UPLOAD = 4 << 20  # bytes of one request: the most that all registries take
_PAGES = 50
Told = Callable[[int], object]


class Missing(Exception):
    """The registry does not have what was asked for."""


class Registry:
    """The registry at `home`. Every method raises Unavailable, AuthError or HubError."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._root = f"{'https' if home.secure else 'http'}://{_with_port(home)}"
        self._oras, self._auth, self._session = _client(home)
        self._oras.do_request = self._ask  # what all of its methods go through
        self._header: dict[str, str] = {}
        self._credentials: Credentials | None = None
        self._asked_for_credentials = False
        self._tell: Told = nothing

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *error: object) -> None:
        self._session.close()

    def manifest(self, name: str, version: str) -> tuple[bytes, str]:
        """The manifest at a tag or digest, and its digest. Raises Missing."""
        accepted = ", ".join((MANIFEST, *_OTHERS))
        with self._explained():
            url = f"{self._root}/v2/{name}/manifests/{version}"
            response = self._ask(url, headers={"Accept": accepted}, stream=True)
            with response:
                body = b"".join(self._pieces(response, MANIFEST_SIZE))
        digest = digest_of(body)
        if version.startswith("sha256:") and digest != version:
            raise HubError(f"{self.home.host} gives something else for {version}, with the digest {digest}")
        return body, digest

    def put_manifest(self, name: str, version: str, body: bytes, kind: str = MANIFEST) -> None:
        """Let `version` (a tag, or the digest) be this manifest."""
        with self._explained():
            self._ask(f"{self._root}/v2/{name}/manifests/{version}", "PUT", body, {"Content-Type": kind})

    def blob(self, name: str, digest: str, size: int, target: IO[bytes], tell: Told = nothing) -> None:
        """Write the blob to `target`. Raises Missing; HubError if it is not what `digest` and `size` say."""
        seen, count = hashlib.sha256(), 0
        with self._explained(), self._oras.get_blob(self._container(name), digest, stream=True) as response:
            for piece in self._pieces(response, size):
                seen.update(piece)
                count += len(piece)
                target.write(piece)
                tell(len(piece))
        if count != size or f"sha256:{seen.hexdigest()}" != digest:
            told = f"{count} of {size} bytes, digest sha256:{seen.hexdigest()}"
            raise HubError(f"{self.home.host} gives something else for {digest} ({told})")

    def put_blob(self, name: str, path: Path, digest: str, size: int, tell: Told = nothing) -> None:
        """Upload a file, unless the registry has it."""
        layer = {"digest": digest, "size": size}
        self._tell = tell
        try:
            with self._explained():
                done = self._oras.upload_blob(
                    str(path), self._container(name), layer, do_chunked=size > _UPLOAD, chunk_size=_UPLOAD
                )
        finally:
            self._tell = nothing
        if done.status_code not in (200, 201, 202, 204):
            raise HubError(f"{self.home.host} does not take {name}: {done.status_code} {done.reason}")

    def tags(self, name: str) -> list[str]:
        """Raises Missing for a name that it does not have."""
        return self._listed(f"/v2/{name}/tags/list", "tags")

    def names(self) -> list[str]:
        """What it lists; many registries list nothing, or refuse to."""
        return self._listed("/v2/_catalog?n=1000", "repositories")

    def _listed(self, path: str, key: str) -> list[str]:
        found: list[str] = []
        url = self._root + path
        for _ in range(_PAGES):
            with self._explained(), self._ask(url, stream=True) as response:
                body = b"".join(self._pieces(response, MANIFEST_SIZE))
                following = response.links.get("next", {}).get("url")
            found += [item for item in _parsed(body, self.home.host).get(key) or [] if isinstance(item, str)]
            if not following:
                break
            url = urljoin(self._root, following)
        return found

    def _container(self, name: str) -> Any:
        return self._oras.get_container(f"{_with_port(self.home)}/{name}")

    def _pieces(self, response: Any, most: int) -> Iterator[bytes]:
        """What comes, at most `most` bytes of it and in due time."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise HubError(f"{self.home.host} sends it packed, which was not asked for")
        until = time.monotonic() + _PATIENCE + most / _SLOWEST
        left = most
        for piece in response.iter_content(_PIECE):
            left -= len(piece)
            if left < 0:
                raise HubError(f"{self.home.host} sends more than the {most} bytes that there should be")
            if time.monotonic() > until:
                raise Unavailable(f"{self.home.host} is too slow: {most - left} bytes came")
            yield piece

    def _ask(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> Any:
        """One request, and a second one if the registry wants to know who we are."""
        if self.home.secure and not url.startswith("https://"):
            raise AuthError(f"{self.home.host} wants an upload to go to {url:.100} without TLS; it was not sent")
        words = {"data": data, "json": json, "stream": stream, "timeout": _TIMEOUTS}
        response = self._session.request(method, url, headers=self._headers(url, headers), **words)
        if response.status_code == 401 and self._is_ours(url) and self._answer(response):
            response.close()
            response = self._session.request(method, url, headers=self._headers(url, headers), **words)
        if data is not None and response.ok:
            self._tell(len(data))
        if not response.ok and not (method == "HEAD" and response.status_code == 404):
            self._complain(response, method, url)
        return response

    def _headers(self, url: str, headers: dict[str, str] | None) -> dict[str, str]:
        """An upload may be sent elsewhere, where our secrets have no business."""
        own = self._header if self._is_ours(url) else {}
        return {"Accept-Encoding": "identity", **(headers or {}), **own}

    def _is_ours(self, url: str) -> bool:
        return url.startswith(f"{self._root}/")

    def _answer(self, response: Any) -> bool:
        """Whether we can say who we are, which is in `_header` then."""
        if not self._asked_for_credentials:
            self._credentials = credentials_for(self.home.host)
            self._asked_for_credentials = True
        challenge = response.headers.get("WWW-Authenticate", "")
        if challenge.lower().startswith("basic"):
            if self._credentials is None or self._header:
                return False
            pair = f"{self._credentials.user}:{self._credentials.secret}".encode()
            self._header = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
            return True
        if not challenge.lower().startswith("bearer"):
            return False
        self._check_realm(challenge)
        if self._credentials is not None:
            self._auth.set_basic_auth(self._credentials.user, self._credentials.secret)
        headers, changed = self._auth.authenticate_request(response, {}, refresh=True)
        self._header = {"Authorization": headers["Authorization"]} if changed else {}
        return bool(changed)

    def _check_realm(self, challenge: str) -> None:
        """Whoever gives tokens gets our secret: over TLS, or on the same host as a registry that has none."""
        from oras.auth.utils import parse_auth_header

        realm = urlsplit(parse_auth_header(challenge).realm or "")
        if realm.scheme == "https" or (not self.home.secure and realm.hostname == urlsplit(self._root).hostname):
            return
        told = f"{self.home.host} wants a secret to be sent to {realm.netloc or 'nobody'!r} without TLS"
        raise AuthError(f"{told}; it was not sent")

    def _complain(self, response: Any, method: str, url: str) -> None:
        code, host = response.status_code, self.home.host
        with response:
            told = _message(next(response.iter_content(_UPLOAD), b"")) if method != "HEAD" else ""
        if code in (401, 403):
            raise AuthError(self._refusal(told))
        if code == 404 and method == "GET":
            raise Missing(told)
        if code == 429 or code >= 500:
            raise Unavailable(f"{host} answers {code} {told or response.reason}; try again later")
        raise HubError(f"{host} answers {code} {told or response.reason} to {method} {urlsplit(url).path}")

    def _refusal(self, told: str) -> str:
        host, who = self.home.host, self._credentials
        why = f" ({told})" if told else ""
        if who is None:
            return f"{host} wants to know who you are{why}; log in: docker login {host}"
        return f"{host} does not let {who.user!r} in{why}, whom {who.source} names; log in again: docker login {host}"

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What the library says of the network, in our words."""
        import requests

        host = self.home.host
        try:
            yield
        except requests.exceptions.SSLError as error:
            told = f"{host} cannot be trusted: {_reason(error)}"
            raise AuthError(f"{told}. If it speaks plain HTTP, say so: ZFLOW_HUB=http://{host}") from error
        except requests.exceptions.RequestException as error:
            told = f"{host} cannot be reached: {_reason(error)}"
            raise Unavailable(f"{told}; is this the registry, and is it on?") from error


def digest_of(body: bytes) -> str:
    """As registries spell it."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _client(home: Home) -> tuple[Any, Any, Any]:
    """The library's registry, what fetches tokens for it, and the session that both ask by."""
    try:
        import oras.logger
        import oras.provider
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry
    except ImportError as error:
        raise ConfigError(f"registries need the extra `hub` ({error}): pip install 'zflow[hub]'") from error
    oras.logger.logger.log_handler = []  # what it has to say is in our errors
    client = oras.provider.Registry(home.host, insecure=not home.secure)
    session = client.session
    session.trust_env = home.secure  # no proxy between us and loopback
    session.auth = lambda request: request  # the only way not to be given what .netrc has
    again = Retry(2, backoff_factor=0.2, status_forcelist=(502, 503, 504), raise_on_status=False)
    again.respect_retry_after_header = False  # it could be told to wait for years
    adapter = HTTPAdapter(max_retries=again)
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    send = session.send
    session.send = lambda request, **words: send(request, **{**words, "timeout": words.get("timeout") or _TIMEOUTS})
    return client, client.auth, session


def _with_port(home: Home) -> str:
    """The library takes a first part without a port or a dot for a part of the name."""
    has_mark = "." in home.host or ":" in home.host
    return home.host if has_mark else f"{home.host}:{443 if home.secure else 80}"


def _parsed(body: bytes, host: str) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise HubError(f"{host} answers what no registry would; is it one?")
    return value


def _message(body: bytes) -> str:
    try:
        told = json.loads(body)["errors"][0]
        return f"{told.get('code', '')}: {told.get('message', '')}"[:200]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return ""


def _reason(error: Exception) -> str:
    """The innermost cause, which says it best."""
    inner: BaseException = error
    while deeper := [item for item in (getattr(inner, "reason", None), *inner.args) if isinstance(item, Exception)]:
        inner = deeper[0]
    return str(inner)[:200]
