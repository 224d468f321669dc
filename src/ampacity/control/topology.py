"""Topology files, and what people mark nodes with: checked, and written as a whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ampacity.model.errors import InvalidSpec, NotFound, Where
from ampacity.model.event import Draft, EventKind, Rows, Table, put
from ampacity.model.ids import SYSTEM_PROJECT, NodeId, WorkloadId
from ampacity.model.node import Marks, Node
from ampacity.model.rules import LABEL
from ampacity.model.site import EMPTY_SITE, SITE_KEY, Site
from ampacity.model.topology_file import parse_topology_file
from ampacity.model.view import TopologyChanges
from ampacity.model.volume import Volume
from ampacity.store.feed import FeedStore

from .decide import decide


class Topology:
    """Reads and writes the site's row and the marks of nodes."""

    def __init__(self, store: FeedStore, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock

    def site(self) -> Site:
        found = self._store.get(Table.SITES, SITE_KEY)
        return found if isinstance(found, Site) else EMPTY_SITE

    def apply(self, text: str, *, file: str, by: str, dry_run: bool) -> TopologyChanges:
        """Make the trees, feeds, licences and volumes what the file says, all of it in one transaction, or nothing.

        Raises:
            InvalidSpec: with file, line and key; nodes that are not known among it.
            Conflict: they are being changed by others.
        """
        read = parse_topology_file(text, file=file)
        if not read.about:
            raise InvalidSpec(
                "there is nothing about topology in it.",
                where=Where(file=file),
                hint="Write `topology:`, `feeds:`, `licences:` or `storage:`.",
            )

        def once() -> tuple[TopologyChanges, list[Draft]]:
            rows = self._store.live()
            read.refuse_unknown(node.id for node in rows.nodes.values())
            before = rows.sites.get(SITE_KEY)
            after = read.site(1 if before is None else before.version + 1)
            lines = tuple(_differences(rows, before or EMPTY_SITE, after))
            found = TopologyChanges(dry_run=dry_run, changes=lines)
            return found, [] if dry_run or not lines else [self._changed(after, lines, by)]

        return decide(self._store, once, in_vain="The topology is being changed by others; try again.")

    def _changed(self, after: Site, lines: Sequence[str], by: str) -> Draft:
        return Draft(
            kind=EventKind.TOPOLOGY_CHANGED,
            at=self._clock(),
            changes=(put(after),),
            actor=by,
            project=SYSTEM_PROJECT,
            text=f"{by} changed the topology: {'; '.join(lines)}",
        )

    def mark(self, name: str, *, labels: Mapping[str, str | None], taints: Mapping[str, str | None], by: str) -> None:
        """Give a node labels and taints, or with ``None`` take them off. A taint without a value has an empty one.

        Raises:
            NotFound: there is no such node.
            InvalidSpec: a label or taint is not one.
            Conflict: it is being changed by others.
        """
        _refuse_odd("labels", labels, least=1)
        _refuse_odd("taints", taints, least=0)

        def once() -> tuple[None, list[Draft]]:
            node = self._store.get(Table.NODES, name)
            if not isinstance(node, Node):
                raise NotFound(f"There is no node {name}.", hint="`ampacity nodes` lists them.")
            marks = _marked(node.marks, labels, taints)
            if marks == node.marks:
                return None, []
            draft = Draft(
                kind=EventKind.NODE_CHANGED,
                at=self._clock(),
                changes=(put(replace(node, marks=marks, version=node.version + 1)),),
                node=NodeId(name),
                actor=by,
                text=f"{by} marked node {name}: {', '.join(_said(labels, taints))}",
            )
            return None, [draft]

        decide(self._store, once, in_vain=f"The node {name} is being changed by others; try again.")


def _refuse_odd(key: str, marks: Mapping[str, str | None], *, least: int) -> None:
    """``least``: how long a value has to be."""
    for name, value in marks.items():
        texts = [name] if value is None or (not value and not least) else [name, value]
        if not all(re.fullmatch(LABEL, text) for text in texts):
            raise InvalidSpec(
                f"{name if value is None else f'{name}={value}'!r} is not right.",
                where=Where(key=key),
                hint="Use letters, digits, '.', '_', '/' and '-', at most 63.",
            )


def _marked(marks: Marks, labels: Mapping[str, str | None], taints: Mapping[str, str | None]) -> Marks:
    merged: dict[str, str | None] = {**marks.labels, **labels}
    kept = {taint.partition("=")[0]: taint for taint in marks.taints}
    for key, value in taints.items():
        kept.pop(key, None)
        if value is not None:
            kept[key] = f"{key}={value}" if value else key
    return Marks(
        labels={key: value for key, value in sorted(merged.items()) if value is not None},
        taints=tuple(kept[key] for key in sorted(kept)),
    )


def _said(labels: Mapping[str, str | None], taints: Mapping[str, str | None]) -> Iterator[str]:
    for word, marks in (("label", labels), ("taint", taints)):
        for key, value in marks.items():
            yield f"no {word} {key}" if value is None else f"{word} {key}{f'={value}' if value else ''}"


def _differences(rows: Rows, before: Site, after: Site) -> Iterator[str]:
    """In words: what comes, goes or changes, and how many nodes move in each tree."""
    for tree in sorted({*before.levels, *after.levels}):
        if tree not in after.levels:
            yield f"tree {tree} goes"
            continue
        moved = sum(before.place(node, tree) != after.place(node, tree) for node in rows.nodes.values())
        if tree not in before.levels:
            yield f"tree {tree} ({' > '.join(after.levels[tree])}) comes with {_count(len(after.places[tree]), 'node')}"
        elif before.levels[tree] != after.levels[tree] or moved:
            yield f"tree {tree} ({' > '.join(after.levels[tree])}): {_count(moved, 'node')} moved"
    for word, old, new in (("feed", before.feeds, after.feeds), ("licence", before.licences, after.licences)):
        unit = " W" if word == "feed" else ""
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield f"{word} {name}: {old.get(name, 'none')} -> {new.get(name, 'none')}{unit}"
    yield from _storage_differences(rows, before.storage, after.storage)
    fed = sum(before.feed(node) != after.feed(node) for node in rows.nodes.values())
    if fed:
        yield f"{_count(fed, 'node')} on another feed"


def _storage_differences(rows: Rows, before: Mapping[str, Volume], after: Mapping[str, Volume]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if name not in after:
            users = sum(_mounts(rows, id, name) for id, each in rows.workloads.items() if not each.phase.ended)
            yield f"volume {name} goes" + (f", which {_count(users, 'workload')} would mount" if users else "")
        elif name not in before:
            yield f"volume {name} comes: {_say_volume(after[name])}"
        elif before[name] != after[name]:
            yield f"volume {name}: now {_say_volume(after[name])}"


def _mounts(rows: Rows, workload: str, volume: str) -> bool:
    return any(use.volume == volume for use in rows.spec(WorkloadId(workload)).spec.volumes)


def _say_volume(volume: Volume) -> str:
    on = "all nodes" if volume.nodes is None else _count(len(volume.nodes), "node")
    near = f", near {_count(len(volume.near), 'node')}" if volume.near else ""
    return f"{volume.path} on {on}{near}{', read only' if volume.read_only else ''}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
