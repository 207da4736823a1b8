"""Wheels that a test makes: nothing but what pip reads of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_wheel(
    folder: Path,
    name: str,
    *needs: str,
    version: str = "1.0",
    tag: str = "py3-none-any",
    files: Sequence[str] | Mapping[str, str] = (),
) -> Path:
    """needs: its requirements. files: modules that it has, which are empty where no text is given."""
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{name}-{version}.dist-info"
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {need}" for need in needs),
    ]
    texts = {
        f"{about}/METADATA": "\n".join([*metadata, ""]),
        f"{about}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **(files if isinstance(files, Mapping) else dict.fromkeys(files, "")),
    }
    texts[f"{about}/RECORD"] = "".join(f"{path},,\n" for path in (*texts, f"{about}/RECORD"))
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in texts.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel
