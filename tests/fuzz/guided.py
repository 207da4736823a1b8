"""One run of the fuzzer, in a process of its own: ``python -m tests.fuzz.guided TARGET`` and arguments of libFuzzer.

Nothing of zflow may be imported before atheris watches imports: this module imports it last.
"""

from __future__ import annotations

import sys

import atheris

if __name__ == "__main__":
    with atheris.instrument_imports(include=["zflow"]):
        from tests.fuzz import targets
    target = targets.TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()  # never returns
