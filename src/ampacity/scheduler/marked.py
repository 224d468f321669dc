"""What is known of rows by their labels, taints, places and volumes: kept, and looked at again only where a row
changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic

import numpy as np
import numpy.typing as npt

from ampacity.model.node import Node, Pool, TopologyPath, placing_pool
from ampacity.model.rules import Preference
from ampacity.model.site import EMPTY_SITE, Site
from ampacity.model.volume import Volume

from .columns import Counts, Flags, Ints, T
from .gang import Data, Gang, admission

NOWHERE = -1
"""The code of a node that has no place on that level of a tree, or no feed."""


@dataclass(slots=True)
class _Column(Generic[T]):
    """One value a row, and of which version of the row's marks it is."""

    values: npt.NDArray[T]
    version: Ints


@dataclass(slots=True)
class Tree:
    """A topology tree in numbers.

    Attributes:
        levels: their names, from the root down.
        codes: (rows, levels) the place of each node on each level, numbered on each level in the order of the paths.
        places: by level, the path of each code.
    """

    levels: tuple[str, ...]
    codes: Counts
    places: tuple[list[TopologyPath], ...]


@dataclass(slots=True)
class Marked:
    """Answers about the marks of rows. ``version`` of a row changes whenever its labels, taints, places or pool do.

    Attributes:
        nodes: by row, the fleet's own list.
        version: by row, the fleet's own numbers.
    """

    nodes: list[Node | None]
    version: Ints
    site: Site = EMPTY_SITE
    _allowed: dict[object, tuple[_Column[np.bool_], Callable[[Node], bool]]] = field(default_factory=dict)
    _worth: dict[tuple[Preference, ...], _Column[np.int64]] = field(default_factory=dict)
    _feeds: _Column[np.int64] | None = None
    _feed_codes: dict[str, int] = field(default_factory=dict)
    _trees: dict[str, tuple[Tree, Ints]] = field(default_factory=dict)
    _placing: Mapping[str, Pool] = field(default_factory=dict)
    _placed_by: _Column[np.int64] | None = None
    _near: dict[Data, tuple[Ints, Ints]] = field(default_factory=dict)

    def put_site(self, site: Site) -> None:
        if site.storage != self.site.storage:
            self._allowed.clear()
        self.site = site
        self._trees.clear()
        self._near.clear()
        self._feeds = None

    def put_pools(self, pools: Mapping[str, Pool]) -> None:
        """The pools as they now are."""
        self._placing = {name: pool for name, pool in pools.items() if pool.places_itself}
        self._placed_by = None

    def pool(self, row: int) -> str | None:
        """The pool that decides where something runs that is placed on a row; ``None`` = it runs there."""
        node = self.nodes[row] if self._placing else None
        return None if node is None else placing_pool(node, self._placing)

    @property
    def is_pooled(self) -> bool:
        """Whether there are nodes that no gang spans."""
        return bool(self._placing)

    def apart(self, rows: Ints) -> list[Ints]:
        """The rows in parts that no gang spans: first those on which we place, then those of each pool that places by
        itself, by name."""
        if not self._placing:
            return [rows]
        parts = self._parts()[rows]
        return [rows[parts == part] for part in np.unique(parts)]

    def with_row(self, rows: Ints, row: int) -> Ints:
        """Of the rows those that a gang may have beside that one."""
        return rows[self._parts()[rows] == self._parts()[row]] if self._placing else rows

    def _parts(self) -> Ints:
        if self._placed_by is None or len(self._placed_by.values) != len(self.version):
            self._placed_by = self._new(np.int64)
        codes = {name: code for code, name in enumerate(sorted(self._placing), 1)}
        return self._current(self._placed_by, lambda node: codes.get(placing_pool(node, self._placing) or "", 0))

    def allowed(self, gang: Gang) -> Flags:
        """The rows whose labels, taints and volumes let a gang in."""
        key = gang.rules.selector, gang.rules.tolerations, tuple(each.volume for each in gang.data)
        known = self._allowed.get(key)
        if known is None or len(known[0].values) != len(self.version):
            known = self._allowed[key] = self._new(np.bool_), admission(gang, self.site)
        return self._current(*known)

    def worth(self, gang: Gang) -> Ints | None:
        """How much more each row is worth to a gang, by its preferences and by what data is near; ``None`` = all are
        worth the same."""
        parts = [self._preferred(gang.rules.prefer)] if gang.rules.prefer else []
        parts += [self._nearness(each) for each in gang.data if self._is_somewhere_near(each)]
        return sum(parts[1:], parts[0]) if parts else None

    def _preferred(self, prefer: tuple[Preference, ...]) -> Ints:
        column = self._worth.get(prefer)
        if column is None or len(column.values) != len(self.version):
            column = self._worth[prefer] = self._new(np.int64)
        return self._current(column, lambda node: _worth(node, prefer))

    def _is_somewhere_near(self, data: Data) -> bool:
        volume = self.site.storage.get(data.volume)
        return volume is not None and bool(volume.near) and _worth_of(volume, data) > 0

    def _nearness(self, data: Data) -> Ints:
        """What each row is worth for being near that volume."""
        known = self._near.get(data)
        if known is not None and np.array_equal(known[1], self.version):
            return known[0]
        volume = self.site.storage[data.volume]
        homes = set(volume.near)
        at = np.array([node is not None and node.id in homes for node in self.nodes], np.bool_)
        worth = np.where(at, _worth_of(volume, data), 0)
        if volume.tree:
            worth = np.maximum(worth, _along(self.tree(volume.tree), at, _worth_of(volume, data)))
        self._near[data] = worth, self.version.copy()
        return worth

    def feeds(self) -> tuple[Ints, Ints]:
        """The code of each row's feed, and what each code's feed can give in watts; a feed that no file knows gives
        whatever is asked."""
        if self._feeds is None or len(self._feeds.values) != len(self.version):
            self._feeds = self._new(np.int64)
        codes = self._current(self._feeds, self._feed_code)
        unlimited = np.iinfo(np.int64).max
        return codes, np.array([self.site.feeds.get(name, unlimited) for name in self._feed_codes], np.int64)

    def watts_left(self, used_w: Ints) -> dict[str, int]:
        """Of each feed that has a limit, where so much is given out on each row."""
        codes, left = self.feeds()[0], dict(self.site.feeds)
        for name, code in self._feed_codes.items():
            if name in left:
                left[name] -= int(used_w[codes == code].sum())
        return left

    def tree(self, name: str) -> Tree:
        """A tree, with as many levels as it has names for."""
        known = self._trees.get(name)
        if known is not None and np.array_equal(known[1], self.version):
            return known[0]
        tree = self._numbered(name)
        self._trees[name] = tree, self.version.copy()
        return tree

    def _numbered(self, name: str) -> Tree:
        levels = self.site.levels_of(name)
        paths: list[TopologyPath] = [
            () if node is None else self.site.place(node, name)[: len(levels)] for node in self.nodes
        ]
        codes = np.full((len(paths), len(levels)), NOWHERE, np.int32)
        places = []
        for level in range(len(levels)):
            found = sorted({path[: level + 1] for path in paths if len(path) > level})
            code_of = {path: code for code, path in enumerate(found)}  # a shorter path is none of them
            codes[:, level] = [code_of.get(path[: level + 1], NOWHERE) for path in paths]
            places.append(found)
        return Tree(levels=levels, codes=codes, places=tuple(places))

    def _new(self, kind: type[T]) -> _Column[T]:
        size = len(self.version)
        return _Column(values=np.zeros(size, kind), version=np.full(size, -1, np.int64))

    def _current(self, column: _Column[T], of: Callable[[Node], int]) -> npt.NDArray[T]:
        for row in np.flatnonzero(column.version != self.version).tolist():
            node = self.nodes[row]
            column.values[row] = 0 if node is None else of(node)
            column.version[row] = self.version[row]
        return column.values

    def _feed_code(self, node: Node) -> int:
        name = self.site.feed(node)
        return self._feed_codes.setdefault(name, len(self._feed_codes)) if name else NOWHERE


def _worth_of(volume: Volume, data: Data) -> int:
    return volume.worth if data.worth is None else data.worth


def _along(tree: Tree, homes: Flags, worth: int) -> Ints:
    """What rows are worth that share a place of the tree with a home: with two levels a third for the upper one and
    two thirds for the lower one, since a home itself is one step nearer still."""
    found = np.zeros(len(homes), np.int64)
    for level in range(len(tree.levels)):
        codes = tree.codes[:, level]
        shared = np.unique(codes[homes & (codes != NOWHERE)])
        found[np.isin(codes, shared)] = worth * (level + 1) // (len(tree.levels) + 1)
    return found


def _worth(node: Node, prefer: tuple[Preference, ...]) -> int:
    labels = node.all_labels
    return sum(each.worth for each in prefer if all(rule.holds(labels) for rule in each.labels))
