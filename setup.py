"""The package: what it needs, and why these versions. Tool settings are in pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    """The one in zflow/version.py, read and not imported: its dependencies need not be installed yet."""
    found = re.search(r'^__version__ = "([^"]+)"$', (HERE / "zflow" / "version.py").read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise RuntimeError("zflow/version.py does not tell its version")
    return found[1]


CORE = [
    "pyzmq>=26.0",  # the first wheels with libzmq 4.3.5 (25.1.2 still has 4.3.4), the version that was measured
    "msgpack>=1.0",  # since then its limits refuse unbacked lengths and maps have str keys unless asked
    "pyyaml>=6.0",
    "click>=8.0",
    "numpy>=1.23",
    "cloudpickle>=3.0",
    "watchfiles>=0.18",  # the reload and restart loops follow its `watch(stop_event=...)`
]

TEST = [
    "pytest>=8.0",
    "pytest-xdist>=3.0",
    "hypothesis>=6.0",
    "psutil>=5.9",
    "ruff>=0.6",
    "mypy>=1.11",
    "types-PyYAML>=6.0",
]

DEMO = ["tokenizers>=0.15", "safetensors>=0.4"]

setup(
    name="zflow",
    version=version(),
    description="Python functions as a graph of processes over ZeroMQ: Executor, Flow, Client",
    long_description=(HERE / "README.md").read_text("utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["zflow", "zflow.*"]),
    package_data={"zflow": ["py.typed"]},
    install_requires=CORE,
    extras_require={"test": TEST, "demo": DEMO},
    entry_points={"console_scripts": ["zflow=zflow.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Typing :: Typed",
    ],
)
