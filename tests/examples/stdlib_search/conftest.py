"""The example's modules import each other by bare name, as they do when main.py is run; so its folder is on the path
here."""

from __future__ import annotations

import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "stdlib_search"
sys.path.insert(0, str(EXAMPLE))
