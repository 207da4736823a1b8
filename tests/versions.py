"""The suite on every Python from 3.10 to 3.13 that this machine has; exits 1 if any of them fails.

Looks for ``python3.N`` on the PATH and among pyenv's versions. Each gets an environment of its own under .venv-N.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WANTED = range(10, 14)


def interpreters() -> dict[int, str]:
    """The interpreters found, by minor version."""
    found = {}
    for minor in WANTED:
        pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python"))
        for candidate in [*map(str, pyenv[-1:]), shutil.which(f"python3.{minor}")]:
            if candidate and runs(candidate, minor):
                found[minor] = candidate
                break
    return found


def runs(interpreter: str, minor: int) -> bool:
    """Whether `interpreter` starts and is of that version (a pyenv shim may be neither)."""
    done = subprocess.run([interpreter, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, text=True)
    return done.stdout.strip() == str(minor)


def test_with(minor: int, interpreter: str, arguments: list[str]) -> int:
    """Make or reuse the environment, run the suite, return its exit code."""
    environment = ROOT / f".venv-{minor}"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([interpreter, "-m", "venv", str(environment)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[test]"], check=True)
    print(f"--- Python 3.{minor}", flush=True)
    return subprocess.run([python, "-m", "pytest", "-n", "2", "-q", *arguments], cwd=ROOT).returncode


def main() -> int:
    found = interpreters()
    missing = [f"3.{minor}" for minor in WANTED if minor not in found]
    if missing:
        print(f"not found on this machine, so not tested: {', '.join(missing)}")
    failed = [minor for minor, interpreter in found.items() if test_with(minor, interpreter, sys.argv[1:])]
    print(f"passed: {', '.join(f'3.{minor}' for minor in found if minor not in failed) or 'none'}")
    if failed:
        print(f"failed: {', '.join(f'3.{minor}' for minor in failed)}")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
