"""A picture of a Flow or a Deployment in the form that its file's name asks for."""

from __future__ import annotations

from pathlib import Path

from zflow.config.deployment import DeploymentSpec
from zflow.config.spec import FlowSpec
from zflow.errors import ConfigError, nearest
from zflow.exports.drawing import drawing_of
from zflow.exports.mermaid import mermaid
from zflow.exports.svg import svg

_FORMS = {".svg": svg, ".mmd": mermaid}


def write_picture(spec: FlowSpec | DeploymentSpec, path: str | Path) -> None:
    """Draw `spec` into `path`: ``.svg``, or ``.mmd`` for Mermaid. Raises ConfigError for any other, and OSError."""
    path = Path(path)
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        told = f"{path} ends in {path.suffix!r}, which is no kind of picture"
        raise ConfigError(f"{told}: {nearest(path.suffix, _FORMS)}")
    path.write_text(form(drawing_of(spec)), encoding="utf-8")
