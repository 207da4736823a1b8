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


CORE = [  # the oldest versions with which the suite passes; there is no reason for newest ones
    "pyzmq>=26.0",  # the first wheels with libzmq 4.3.5 (25.1.2 still has 4.3.4), the version that was measured
    "msgpack>=1.0.5",
    "pyyaml>=6.0",
    "click>=8.0",
    "numpy>=1.23",
    "cloudpickle>=3.0",
    "watchfiles>=0.18",
]

BUNDLE = ["packaging>=22"]  # which of its requirements a package has on another machine
RICH = ["rich>=13"]  # finer progress bars
HUB = ["oras>=0.2.30"]  # registries; imported when one is asked

TEST = [
    "pytest>=9.1",  # the first whose caplog also hears loggers that do not propagate
    "pytest-xdist>=3.5",
    "hypothesis>=6.100",
    "psutil>=5.9",
    "click>=8.2",  # the first whose CliRunner keeps stderr apart
    "ruff>=0.17",
    "mypy>=2.0",
    "types-PyYAML>=6.0",
    "matplotlib>=3.8",  # bench draws with it
    "nbclient>=0.10",  # a notebook as users have it
    "ipykernel>=6.29",
    "kubernetes-validate>=1.31",  # the schemas of several versions of Kubernetes
    "jsonschema>=4.17",  # reads the schema of our YAML files as editors do
    "dnslib>=0.9.24",  # a server for the names of pods that come and go
    *BUNDLE,
    *RICH,
    *HUB,
]

FUZZ = ["atheris>=2.3"]  # python -m tests.fuzz; what it found is replayed without it

DEMO = ["tokenizers>=0.15", "safetensors>=0.4"]

setup(
    name="zflow",
    version=version(),
    description="Python functions as a graph of processes over ZeroMQ: Executor, Flow, Client",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["zflow", "zflow.*"]),
    package_data={"zflow": ["py.typed", "templates/**/*.txt"]},
    install_requires=CORE,
    extras_require={"test": TEST, "demo": DEMO, "hub": HUB, "bundle": BUNDLE, "rich": RICH, "fuzz": FUZZ},
    entry_points={"console_scripts": ["zflow=zflow.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Typing :: Typed",
    ],
)
