"""Fuzzes one target, guided by the coverage of zflow, beginning with the corpus that is kept.

``python -m tests.fuzz header --seconds 600`` needs atheris (the extra ``fuzz``). It ends with an error, and prints
the input, if the target fails. With ``--keep`` what led further in than the corpus is added to it, the smallest first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import corpora, targets

MAX_LENGTH = 4096  # bytes of an input
MEMORY_MB = 1024  # of the whole process; what one input may take is checked by the replay of what is kept
ROOM = 1500  # bytes that one run may add to a corpus
_FUZZ = [f"-rss_limit_mb={MEMORY_MB}", f"-max_len={MAX_LENGTH}", "-timeout=10", "-print_final_stats=1"]


def fuzz(name: str, seconds: int, keep: bool) -> int:
    """Fuzz the target called `name`; the exit code: 0 if nothing was found."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        begun, found, merged = (Path(folder) / word for word in ("begun", "found", "merged"))
        for path in (begun, found, merged):
            path.mkdir()
        for number, data in enumerate(corpora.read(name)):
            (begun / f"{number:04}").write_bytes(data)
        dictionary = Path(folder) / "words"
        dictionary.write_text("".join(f"{_quoted(word)}\n" for word in targets.vocabulary()), "ascii")
        options = [*_FUZZ, f"-artifact_prefix={folder}/failed-", f"-dict={dictionary}", f"-max_total_time={seconds}"]
        ended = _run(name, *options, str(found), str(begun))
        for path in Path(folder).glob("failed-*"):
            print(f"{name} fails with {path.read_bytes()!r}")
        if keep and ended == 0:
            _run(name, *_FUZZ, "-merge=1", str(merged), str(begun), str(found))
            news = sorted((path.read_bytes() for path in merged.iterdir()), key=len)
            print(f"{corpora.add(name, _within(ROOM, news))} inputs of {len(news)} are kept")
        return ended


def _run(name: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "tests.fuzz.guided", name, *arguments]).returncode


def _quoted(word: str) -> str:
    return '"' + "".join(letter if letter.isalnum() else f"\\x{ord(letter):02x}" for letter in word) + '"'


def _within(room: int, inputs: list[bytes]) -> list[bytes]:
    kept = []
    for data in inputs:
        room -= len(repr(data))
        if room < 0:
            break
        kept.append(data)
    return kept


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", action="store_true", help="add what led further in to the corpus")
    given = parser.parse_args()
    return fuzz(given.target, given.seconds, given.keep)


if __name__ == "__main__":
    sys.exit(main())
