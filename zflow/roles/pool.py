"""The replicas of one head, by link: who comes and who goes, and since when none of them has been ready.

A replica that is to go is kept until it has answered; one without a connection is forgotten at once, since there is
none whose end would be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zflow.roles.contract import Lasting, group_of
from zflow.roles.liveness import LOST, READY, Neighbour


class Pool(dict[str, Neighbour]):
    """The replicas behind `links`, and whoever comes later. name: of their group, besides those of the links.

    none_ready_since: when the last ready one was lost; of no use while one is. new_id, nodes: as for a Neighbour.
    """

    def __init__(self, name: str, links: Sequence[str], new_id: Callable[[], bytes], nodes: Sequence[str]) -> None:
        super().__init__({link: Neighbour(link, new_id, nodes) for link in links})
        self.none_ready_since = 0.0
        self._groups = {name, *map(group_of, links)}
        self._new_id = new_id
        self._nodes = nodes

    @property
    def is_served(self) -> bool:
        """Whether one is ready."""
        return any(neighbour.state == READY for neighbour in self.values())

    def has(self, group: str) -> bool:
        """Whether the replicas of `group` belong here."""
        return group in self._groups

    def ways_out(self) -> Sequence[str]:
        """The links to those that are of use still."""
        return [neighbour.link for neighbour in self.values() if not neighbour.is_done_with]

    def follow(self, group: str, links: Sequence[str]) -> None:
        """The replicas of `group` are those behind `links` from now on."""
        for link, neighbour in list(self.items()):
            if link in links or group_of(link) != group:
                continue
            if neighbour.state == LOST:
                del self[link]
            else:
                neighbour.leave()
        for link in links:
            if link not in self:
                self[link] = Neighbour(link, self._new_id, self._nodes)

    def lasting_causes(self) -> list[Lasting]:
        """Why each of them will not be ready soon; none where one is, or may be."""
        causes = [neighbour.cause for neighbour in self.values() if neighbour.state != READY]
        lasting = [cause for cause in causes if isinstance(cause, Lasting)]
        return lasting if len(lasting) == len(self) else []
