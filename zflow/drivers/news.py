"""What a directory has to tell that a role has not heard yet: other replicas, peers that are given up."""

from __future__ import annotations

from zflow.drivers.directory import Directory
from zflow.roles.contract import group_of


class News:
    """What has been told of `directory` so far. version: of it, when somebody looked last."""

    def __init__(self, directory: Directory) -> None:
        self.version = directory.version
        self._directory = directory
        self._replicas: dict[str, tuple[str, ...]] = {}
        self._given_up: dict[str, str] = {}

    def replicas(self) -> dict[str, tuple[str, ...]]:
        """The groups that have other replicas than was told, each with those that it has."""
        told = self._replicas
        changed = {group: links for group, links in self._directory.replicas().items() if links != told.get(group)}
        told.update(changed)
        return changed

    def given_up(self) -> dict[str, str]:
        """The peers that will not be back soon, which was not told of them, each with the reason."""
        before, self._given_up = self._given_up, self._directory.given_up()
        return {link: why for link, why in self._given_up.items() if before.get(link) != why}

    def is_left(self, link: str) -> bool:
        """Whether `link` is of a group whose replicas have been told, and is none of them."""
        return group_of(link) in self._replicas and not any(link in links for links in self._replicas.values())
