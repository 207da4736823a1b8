"""The command line: click commands over the Python API; no decisions of its own."""

from zflow.cli.commands import main

__all__ = ["main"]
