"""Union-find: members that pairs join become sets."""

from collections import defaultdict
from collections.abc import Sequence


class DisjointSets:
    """Sets of members; the earlier of two roots wins, so that a set is named by its earliest member."""

    def __init__(self, members: Sequence[str]) -> None:
        self._order = {member: position for position, member in enumerate(members)}
        self._parent = {member: member for member in members}

    def join(self, first: str, second: str) -> None:
        """Make one set of the sets of two members."""
        low, high = sorted((self._root(first), self._root(second)), key=self._order.__getitem__)
        self._parent[high] = low

    def groups(self) -> dict[str, list[str]]:
        """Return all sets, each by its earliest member and in the order of the members."""
        found: dict[str, list[str]] = defaultdict(list)
        for member in self._parent:
            found[self._root(member)].append(member)
        return found

    def _root(self, member: str) -> str:
        while (parent := self._parent[member]) != member:
            self._parent[member] = self._parent[parent]
            member = self._parent[member]
        return member
