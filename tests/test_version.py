"""The version is told once, and everybody tells the same."""

from __future__ import annotations

import re
from pathlib import Path

from zflow.version import SOFTWARE, __version__

CHECKOUT = Path(__file__).parents[1]


def test_it_is_a_release_number():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", __version__)


def test_peers_name_it_in_their_greeting():
    assert f"zflow/{__version__}" == SOFTWARE


def test_the_package_finds_it_without_importing_anything():
    """setup.py reads exactly this line."""
    told = (CHECKOUT / "zflow" / "version.py").read_text("utf-8")
    assert re.findall(r'^__version__ = "([^"]+)"$', told, re.MULTILINE) == [__version__]


def test_the_changelog_knows_it():
    assert f"## {__version__}" in (CHECKOUT / "CHANGELOG.md").read_text("utf-8")
