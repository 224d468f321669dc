"""Reading a topology file: its documents with ``topology``, ``feeds``, ``licences`` or ``storage`` at their top."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from ampacity.model.ids import NodeId
from ampacity.model.node import TopologyPath
from ampacity.model.site import USUAL_LEVELS, Site
from ampacity.model.volume import Volume
from ampacity.model.workload_file.check import check_keys
from ampacity.model.workload_file.mistakes import Mistake, Mistakes, Path
from ampacity.model.workload_file.tree import Document, read_documents
from ampacity.model.workload_file.types import nearest, said

from .keys import FeedKeys, PlaceKeys, StorageKeys, TopologyFileKeys, TreeKeys
from .ranges import expanded

TOPS = tuple(TopologyFileKeys.model_fields)
"""The keys that a document about topology has at its top; a workload has none of them."""

K = TypeVar("K", bound=BaseModel)


@dataclass(slots=True, kw_only=True)
class TopologyFile:
    """What a file says. ``named``, ``trees_named``: where each node, and each tree of a volume, is spoken of first, as
    line and path, for messages."""

    file: str
    about: bool = False
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    places: dict[str, dict[NodeId, TopologyPath]] = field(default_factory=dict)
    feeds: dict[str, int] = field(default_factory=dict)
    feed_of: dict[NodeId, str] = field(default_factory=dict)
    licences: dict[str, int] = field(default_factory=dict)
    storage: dict[str, Volume] = field(default_factory=dict)
    named: dict[NodeId, tuple[int, Path]] = field(default_factory=dict)
    trees_named: dict[str, tuple[int, Path]] = field(default_factory=dict)

    def site(self, version: int) -> Site:
        return Site(
            levels=self.levels,
            places=self.places,
            feeds=self.feeds,
            feed_of=self.feed_of,
            licences=self.licences,
            storage=self.storage,
            version=version,
        )

    def refuse_unknown(self, known: Iterable[NodeId]) -> None:
        """Every node that is spoken of has to be known.

        Raises:
            InvalidSpec: with the line of the first that is not; the hint goes on to name the others.
        """
        names = {str(id) for id in known}
        mistakes = Mistakes(file=self.file)
        for id, (line, path) in self.named.items():
            if id not in names:
                hint = nearest(id, names) or "`ampacity nodes` lists them."
                mistakes.add(Mistake(f"there is no node {id}.", path=path, line=line, hint=hint))
        mistakes.raise_any()


def is_about_topology(plain: object) -> bool:
    return isinstance(plain, Mapping) and any(top in plain for top in TOPS)


def parse_topology_file(text: str | bytes, *, file: str) -> TopologyFile:
    """The trees, feeds, licences and volumes that the file gives. Documents about other things are passed over.

    Raises:
        InvalidSpec: with the line and key of the topmost mistake: keys and values that are not known, a place in one
            that is not there, places that are parts of each other, more levels than are named, a node in two places of
            one tree or on two feeds, a volume near a node that does not have it. The hint goes on to name all others.
    """
    mistakes = Mistakes(file=file)
    found = TopologyFile(file=file)
    seen: dict[str, int] = {}
    for document in read_documents(text, mistakes):
        if not isinstance(document.value, dict) or not is_about_topology(document.value):
            continue
        found.about = True
        for top in [top for top in TOPS if top in document.value]:
            if top in seen:
                message = f"is given twice; the first time in line {seen[top]}."
                _wrong(document, mistakes, (top,), message, "Write all of it in one place.")
            seen.setdefault(top, document.line_of((top,)))
        _Reader(document, found, mistakes).read()
    trees = {*found.levels, *USUAL_LEVELS}
    for tree, (line, path) in found.trees_named.items():
        if tree not in trees:
            hint = nearest(tree, trees) or f"The trees are {', '.join(sorted(trees))}."
            mistakes.add(Mistake(f"there is no tree {tree}.", path=path, line=line, hint=hint))
    mistakes.raise_any()
    return found


class _Reader:
    """Reads one document into what was found so far."""

    def __init__(self, document: Document, found: TopologyFile, mistakes: Mistakes) -> None:
        self._document, self._found, self._mistakes = document, found, mistakes

    def read(self) -> None:
        plain = self._document.value
        assert isinstance(plain, dict), "it is about topology"
        keys = check_keys(plain, TopologyFileKeys, self._document.line_of, self._mistakes)
        if keys is None:
            return
        for name, tree in (keys.topology or {}).items():
            self._tree(name, tree)
        for name, feed in (keys.feeds or {}).items():
            self._feed(name, feed)
        self._found.licences.update(keys.licences or {})
        for name, volume in (keys.storage or {}).items():
            self._volume(name, volume)

    def _tree(self, name: str, plain: object) -> None:
        at: Path = ("topology", name)
        tree = self._checked(plain, TreeKeys, at)
        if tree is None:
            return
        if not tree.levels or len(set(tree.levels)) < len(tree.levels):
            self._wrong((*at, "levels"), "has to name each level once.", "Such as [spine, leaf].")
            return
        places: dict[str, PlaceKeys] = {}
        for place, each in tree.places.items():
            keys = self._checked(each, PlaceKeys, (*at, "places", place))
            if keys is not None:
                places[place] = keys
        paths = {place: self._path(place, places, tree.levels, (*at, "places", place)) for place in places}
        where: dict[NodeId, TopologyPath] = {}
        first: dict[NodeId, str] = {}
        for place, keys in places.items():
            for id, path in self._nodes(keys.nodes or [], (*at, "places", place, "nodes")):
                if id in first:
                    line = self._document.line_of((*at, "places", first[id]))
                    other = "given twice" if first[id] == place else f"in {first[id]} as well, in line {line}"
                    self._wrong(path, f"{id} is {other}.", "A node has one place in a tree.")
                elif paths[place]:
                    where[id] = paths[place]
                first.setdefault(id, place)
        self._found.levels[name] = tuple(tree.levels)
        self._found.places[name] = where

    def _path(self, place: str, places: Mapping[str, PlaceKeys], levels: list[str], at: Path) -> TopologyPath:
        """From the root down; empty where that is wrong."""
        path, above = [place], places[place].inside
        while above is not None:
            if above in path:
                circle = " in ".join([*path[path.index(above) :], above])
                self._wrong(
                    (*at, "inside"), f"goes round in a circle: {circle}.", "Leave `inside` out for the one at the top."
                )
                return ()
            if above not in places:
                hint = nearest(above, places) or "Name it among the places."
                self._wrong((*at, "inside") if len(path) == 1 else at, f"there is no place {above} in this tree.", hint)
                return ()
            path.append(above)
            above = places[above].inside
        if len(path) > len(levels):
            message = f"is {len(path)} levels deep, and {len(levels)} are named."
            self._wrong(at, message, f"Name {len(path)} levels, or write `inside` otherwise.")
            return ()
        return tuple(reversed(path))

    def _feed(self, name: str, plain: object) -> None:
        at: Path = ("feeds", name)
        keys = self._checked(plain, FeedKeys, at)
        if keys is None:
            return
        self._found.feeds[name] = keys.power
        for id, path in self._nodes(keys.nodes or [], (*at, "nodes")):
            other = self._found.feed_of.get(id)
            if other is not None:
                line = self._document.line_of(("feeds", other))
                self._wrong(path, f"{id} draws from {other} as well, in line {line}.", "A node has one feed.")
            else:
                self._found.feed_of[id] = name

    def _volume(self, name: str, plain: object) -> None:
        at: Path = ("storage", name)
        keys = self._checked(plain, StorageKeys, at)
        if keys is None:
            return
        nodes = None if keys.nodes is None else dict(self._nodes(keys.nodes, (*at, "nodes")))
        near = dict(self._nodes(keys.near or [], (*at, "near")))
        for id, path in near.items():
            if nodes is not None and id not in nodes:
                self._wrong(path, f"{id} does not have it.", "Name it under `nodes` as well.")
        if keys.tree is not None:
            where = self._document.line_of((*at, "tree")), (*at, "tree")
            self._found.trees_named.setdefault(keys.tree, where)
        self._found.storage[name] = Volume(
            path=keys.path,
            nodes=None if nodes is None else tuple(nodes),
            near=tuple(near),
            tree=keys.tree or "",
            worth=keys.worth,
            read_only=keys.read_only,
        )

    def _nodes(self, names: list[str], at: Path) -> Iterable[tuple[NodeId, Path]]:
        for position, text in enumerate(names):
            path: Path = (*at, position)
            ids = expanded(text)
            if ids is None:
                self._wrong(path, f"{text[:60]!r} names no nodes.", "Write n1, or a range such as n[01-16].")
            for id in ids or ():
                self._found.named.setdefault(NodeId(id), (self._document.line_of(path), path))
                yield NodeId(id), path

    def _checked(self, plain: object, kind: type[K], at: Path) -> K | None:
        if not isinstance(plain, Mapping):
            self._wrong(at, f"has to be a map of keys, not {said(plain)}.", "")
            return None
        return check_keys(plain, kind, self._document.line_of, self._mistakes, at=at)

    def _wrong(self, path: Path, message: str, hint: str) -> None:
        _wrong(self._document, self._mistakes, path, message, hint)


def _wrong(document: Document, mistakes: Mistakes, path: Path, message: str, hint: str) -> None:
    mistakes.add(Mistake(message, path=path, line=document.line_of(path), hint=hint))
