"""Numeric libraries that are loaded already, as a process forked from the warm parent has them, learn their limit.

They read OMP_NUM_THREADS and its like when they are loaded, and would go on to use a thread for every core of the
machine, all of them on the few cores that the process is kept on. So they are told by their own functions. What is
loaded later reads the variables.
"""

from __future__ import annotations

import contextlib
import re

_MAPS = "/proc/self/maps"
_LIBRARY = re.compile(r"/\S*/lib(?:\w*openblas[\w-]*|mkl_rt|(?:gomp|iomp5|omp)(?:-\w+)?)\.so\S*")
_SETTERS = (
    *("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads"),
    *("openblas_set_num_threads64_", "openblas_set_num_threads"),
    *("MKL_Set_Num_Threads", "omp_set_num_threads"),
)


def limit_loaded(threads: int) -> list[str]:
    """Let every such library use `threads` threads. Returns the functions that were called; none where nothing can be
    found out about what is loaded."""
    called = []
    for path in _loaded():
        import ctypes  # numpy has it already

        with contextlib.suppress(OSError):
            library = ctypes.CDLL(path)
            for name in _SETTERS:
                setter = getattr(library, name, None)
                if setter is not None:
                    setter(ctypes.c_int(threads))
                    called.append(name)
                    break
    return called


def _loaded() -> list[str]:
    with contextlib.suppress(OSError), open(_MAPS, encoding="utf-8", errors="surrogateescape") as maps:
        return sorted({found[0] for line in maps if (found := _LIBRARY.search(line))})
    return []
