"""Which image serves an Executor, and the words that name the Executor inside of it.

``docker://image:tag`` is an image that has zflow and, where it is started, the ``config.yml`` of one Executor.
Executors that are Python code run in an image that its user names; in it the code must lie as it lies here: what is
named by a path here is named by the same path, relative to where the image starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zflow.config.definition import importable_address, is_container, modules_relative_to, relative_to
from zflow.config.images import checked_image, image_of
from zflow.config.places import Place, shown
from zflow.config.references import everywhere, is_reference, parse_reference
from zflow.config.spec import ExecutorSpec, options_of
from zflow.errors import ConfigError
from zflow.executor import registered
from zflow.exports.secrets import check_arguments
from zflow.importing import is_dotted

_ARGUMENTS = ("uses_with", "uses_metas", "uses_requests", "uses_dynamic_batching")
_PLAIN = ("install_requirements", "max_concurrency", "idempotent", "quiet", "quiet_error", "description")


class Images(NamedTuple):
    """default: of Executors that name none, empty for none. by_name: of some. front: of gateways and heads. folder:
    what paths are relative to. native: there are none, programs are started."""

    default: str
    by_name: Mapping[str, str]
    front: str
    folder: Path
    native: bool = False

    def of(self, spec: ExecutorSpec, uses: Any) -> str:
        """The image in which `uses` runs, an Executor that `spec` is about. Raises ConfigError where there is none."""
        if self.native and is_container(uses):
            raise ConfigError(f"{spec.name}: {uses:.200} is an image, and programs are wanted; give its code in uses")
        if self.native:
            return ""
        if is_container(uses):
            return image_of(uses)
        image = self.by_name.get(spec.name, self.default)
        if image:
            return checked_image(image)
        if uses is None:
            return checked_image(self.front)
        if is_reference(uses):
            told = f"{spec.name}: an engine starts images, and {uses:.200} is a package"
            raise ConfigError(f"{told}; push it with its image (zflow hub push --docker), and write hub+docker://")
        raise ConfigError(
            f"{spec.name}: an engine starts images, and {shown(uses)} is code on this machine; give uses='docker://"
            f"image:tag', or image='image:tag' (--image, also {spec.name}=image:tag) for one that holds zflow and "
            "this code"
        )


def words_of(spec: ExecutorSpec, uses: Any, folder: Path) -> list[str]:
    """What `zflow executor` must be told to serve `uses` with the options of `spec`, but for where and by whom."""
    place = Place(spec.name)
    words = ["--uses", name] if (name := _name(uses, folder, place)) else []
    if uses is spec.uses:
        for option in _ARGUMENTS:
            if value := getattr(spec, option):
                words += [f"--{option.replace('_', '-')}", _as_json(value, folder, place.down(option))]
        for module in modules_relative_to(spec.py_modules, folder, place.down("py_modules")):
            words += ["--py-modules", module]
    for item in options_of(ExecutorSpec):
        value = getattr(spec, item.name)
        if item.name in _PLAIN and value != item.default:
            words += [item.flag] if value is True else [item.flag, str(value)]
    return words


def _name(uses: Any, folder: Path, place: Place) -> str:
    if uses is None:
        return ""
    if is_container(uses):
        return "config.yml"
    if isinstance(uses, type):
        return importable_address(uses, place.down("uses"))
    if isinstance(uses, dict):
        check_arguments(uses.get("with", {}), place.down("with"))
        return json.dumps(relative_to(uses, folder, place), ensure_ascii=False)
    if is_reference(uses):
        return str(everywhere(parse_reference(uses)))
    if os.path.isabs(uses):
        if not Path(uses).is_relative_to(folder):
            raise place.down("uses").fault(
                f"{uses} lies outside of {folder}, so that no image can have it in its place"
            )
        return os.path.relpath(uses, folder)
    known = registered(uses) if is_dotted(uses) and "." not in uses else None
    return importable_address(known, place.down("uses")) if known is not None else str(uses)


def _as_json(value: Mapping[str, Any], folder: Path, place: Place) -> str:
    check_arguments(value, place)
    if modules := value.get("py_modules"):
        names = [modules] if isinstance(modules, str) else modules
        value = {**value, "py_modules": modules_relative_to([str(folder / n) for n in names], folder, place)}
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise place.fault(f"cannot be written to a file: {error}; use text, numbers, lists and maps") from None
