"""The image that `uses` names: ``docker://image:tag``, or a name that a registry has.

Whoever starts a container, or writes a file for somebody who will, asks here and nowhere else.
"""

from __future__ import annotations

import re

from zflow.config import environment
from zflow.config.places import shown
from zflow.config.references import home_of, parse_reference
from zflow.errors import ConfigError

_IMAGE = re.compile(
    r"(?!.*//)[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)


def image_of(uses: str) -> str:
    """The image that ``docker://...`` or ``hub+docker://...`` names; of the latter in the registry of ZFLOW_HUB."""
    if uses.startswith("docker://"):
        return checked_image(uses.partition("://")[2])
    reference = parse_reference(uses)
    version = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    if not reference.registry and not environment.variable("ZFLOW_HUB"):
        return checked_image(f"{reference.name}{version}")  # the engine's own registry, or an image that it has
    home = home_of(reference)
    return checked_image(f"{home.host}/{home.prefix}{reference.name}{version}")


def checked_image(image: object) -> str:
    """Raises ConfigError for what is no reference to an image."""
    if not isinstance(image, str) or not _IMAGE.fullmatch(image):
        raise ConfigError(f"{shown(image)} is no image; write registry/name:tag, or name@sha256:... (lower case)")
    return image


def name_of(image: str) -> str:
    """A name for the Executor in `image`: what stands between its registry and its tag, as a name may be."""
    stem = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    made = re.sub(r"\W", "_", stem)
    return made if made[:1].isalpha() else f"x{made}"
