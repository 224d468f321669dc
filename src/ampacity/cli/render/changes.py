"""What a file changes, or would change, of what it makes as a whole: a line for each thing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ampacity.model.view import QueueChanges, RouteChanges, TopologyChanges, WorkloadRef


def topology_lines(changes: TopologyChanges) -> Iterator[str]:
    yield from _worded("topology", changes)


def route_lines(changes: RouteChanges) -> Iterator[str]:
    yield from _worded("routes", changes)
    if changes.unserved:
        yield f"routes: nobody serves {', '.join(changes.unserved)} now"


def _worded(about: str, found: TopologyChanges | RouteChanges) -> Iterator[str]:
    word = "would change" if found.dry_run else "changed"
    yield from (f"{about} {word}: {line}" for line in found.changes)
    if not found.changes:
        yield f"{about}: nothing changes"


def queue_lines(changes: QueueChanges) -> Iterator[str]:
    """Also what would move at once."""
    would = "would be " if changes.dry_run else ""
    for names, word in ((changes.added, "added"), (changes.removed, "removed")):
        for name in names:
            yield f"{name}: {would}{word}"
    yield from changes.changes
    yield from (f"scheduler: {line}" for line in changes.policy)
    if not (changes.added or changes.removed or changes.changes or changes.policy):
        yield "queues: as they are already"
    yield from _moves(changes.starts, "would start now")
    yield from _moves(changes.holds, "would not start now")
    yield from _moves(changes.stops, "would be stopped for others")
    yield from (f"{line}: above what it may use; nothing of it is stopped for that" for line in changes.over)


def _moves(refs: Sequence[WorkloadRef], what: str) -> Iterator[str]:
    for ref in refs:
        yield f"{ref.name} ({ref.queue}): {what}"
