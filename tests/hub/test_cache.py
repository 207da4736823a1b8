"""The cache has a package whole or not at all, whoever is killed, interrupted or quicker."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from zflow.errors import HubError, WorkspaceError
from zflow.hub.cache import Cache

DIGEST = "sha256:" + "a" * 64


def fill(work: Path) -> None:
    (work / "file").write_text("whole")


def test_what_is_kept_is_filled_once_and_found_again(cache: Cache) -> None:
    assert cache.find(DIGEST) is None
    place = cache.keep(DIGEST, fill)
    assert (place / "file").read_text() == "whole"
    assert cache.keep(DIGEST, lambda work: pytest.fail("it is there")) == place == cache.find(DIGEST)
    assert sorted(str(path.relative_to(cache.root)) for path in cache.root.rglob("*")) == [
        "sha256",
        f"sha256/{'a' * 64}",
        f"sha256/{'a' * 64}/file",
        "unfinished",
    ]


@pytest.mark.parametrize("error", [HubError, KeyboardInterrupt, OSError])
def test_nothing_is_left_of_what_could_not_be_filled(cache: Cache, error: type[BaseException]) -> None:
    def fail(work: Path) -> None:
        fill(work)
        raise error("no")

    with pytest.raises(WorkspaceError if error is OSError else error):
        cache.keep(DIGEST, fail)
    assert cache.find(DIGEST) is None
    assert list((cache.root / "unfinished").iterdir()) == []
    assert (cache.keep(DIGEST, fill) / "file").exists()


def test_what_a_killed_process_has_left_is_removed_by_the_next_one_that_fetches_anything(cache: Cache) -> None:
    left = cache.root / "unfinished" / ("b" * 64)
    (left / "new").mkdir(parents=True)
    same = cache.root / "unfinished" / ("a" * 64)
    (same / "new").mkdir(parents=True)
    (same / "new" / "half").touch()
    place = cache.keep(DIGEST, fill)
    assert not left.exists() and [path.name for path in place.iterdir()] == ["file"]


def test_what_somebody_else_fetches_is_left_alone(cache: Cache) -> None:
    theirs = cache.root / "unfinished" / ("b" * 64)
    theirs.mkdir(parents=True)
    descriptor = os.open(theirs, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    cache.keep(DIGEST, fill)
    assert theirs.exists()
    os.close(descriptor)


def test_of_many_at_once_one_fetches_and_the_others_find_it(cache: Cache) -> None:
    filled: list[Path] = []
    all_here = threading.Barrier(8)

    def slowly(work: Path) -> None:
        filled.append(work)
        fill(work)

    def keep() -> None:
        all_here.wait()
        assert (cache.keep(DIGEST, slowly) / "file").read_text() == "whole"

    threads = [threading.Thread(target=keep) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(filled) == 1


def test_a_place_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="file, where packages are kept, cannot be written: .*ZFLOW_HUB_CACHE"):
        Cache(tmp_path / "file").keep(DIGEST, fill)
