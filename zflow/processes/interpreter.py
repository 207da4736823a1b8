"""The command line of a fresh interpreter that sees the world as this one does.

It gets our module path as it is now, since a script, a notebook or an application server may have changed it, and the
options that change what code means. It imports one module and calls one function with one descriptor.
"""

from __future__ import annotations

import sys

_CODE = "import sys; sys.path[:] = {path!r}; from {module} import {function}; sys.exit({function}({descriptor}))"


def command(module: str, function: str, descriptor: int, label: str) -> list[str]:
    """``python -c ...``; `label` stands at its end, for who looks at a list of processes."""
    path = [entry for entry in sys.path if isinstance(entry, str)]
    code = _CODE.format(path=path, module=module, function=function, descriptor=descriptor)
    return [sys.executable, *_options(), "-c", code, label]


def _options() -> list[str]:
    options = [f"-W{warning}" for warning in sys.warnoptions]
    if sys.flags.optimize:
        options.append("-" + "O" * sys.flags.optimize)
    if sys.flags.dont_write_bytecode:
        options.append("-B")
    if sys.flags.ignore_environment:
        options.append("-E")
    if sys.flags.no_user_site:
        options.append("-s")
    if sys.flags.utf8_mode:
        options += ["-X", "utf8"]
    if sys.flags.dev_mode:
        options += ["-X", "dev"]
    return options
