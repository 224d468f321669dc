"""Queues and settings: how they stand, and changing them as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace

from ampacity.model.amounts import capacity_of, print_amount
from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.event import Change, Draft, EventKind, Rows, Table, put, remove
from ampacity.model.ids import DEFAULT_QUEUE, SYSTEM_PROJECT
from ampacity.model.plan import Plan
from ampacity.model.policy import DEFAULT_POLICY, POLICY_KEY, SchedulerPolicy
from ampacity.model.queue import Queue
from ampacity.model.queue_file import QueueFile, parse_queue_file, refuse_unsound
from ampacity.model.view import QueueChanges, QueueTreeView, WorkloadRef
from ampacity.scheduler import build, plan
from ampacity.store.feed import FeedStore

from .decide import decide
from .step import Control


class Queueing:
    """Reads how the queues stand from the last plan, and writes queue files into the store."""

    def __init__(self, store: FeedStore, control: Control, clock: Callable[[], float]) -> None:
        self._store, self._control, self._clock = store, control, clock

    def tree(self) -> QueueTreeView:
        policy = self._store.get(Table.POLICIES, POLICY_KEY)
        return QueueTreeView(
            queues=self._control.plan.queues,
            policy=policy if isinstance(policy, SchedulerPolicy) else DEFAULT_POLICY,
            capacity=capacity_of(self._control.nodes),
        )

    def apply(self, text: str, *, file: str, by: str, dry_run: bool) -> QueueChanges:
        """Make the queue tree and the settings what the file says, all of it in one transaction, or nothing.

        Raises:
            InvalidSpec: with file, line and key.
            Conflict: they are being changed by others.
        """
        read = parse_queue_file(text, file=file)
        if read.queues is None and read.policy is None:
            raise InvalidSpec(
                "there is nothing about queues in it.",
                where=Where(file=file),
                hint="Write `queues:`, `scheduler:` or both.",
            )

        def once() -> tuple[QueueChanges, list[Draft]]:
            rows = self._store.live()
            refuse_unsound(read, rows.nodes.values())
            _refuse_orphans(read, rows)
            changed, changes = _target(read, rows)
            found = _difference(rows, changed, self._clock() if dry_run else None)
            wanted = bool(changes) and not dry_run
            return found, [_draft(changes, found, at=self._clock(), by=by)] if wanted else []

        return decide(self._store, once, in_vain="The queues are being changed by others; try again.")


def _refuse_orphans(read: QueueFile, rows: Rows) -> None:
    """Work may not be left without its queue, nor in one that becomes a sum of others."""
    if read.queues is None:
        return
    names = {str(queue.name) for queue in read.queues} | {DEFAULT_QUEUE}
    parents = {queue.parent for queue in read.queues}
    for workload in sorted(rows.workloads.values(), key=lambda row: row.id):
        spec = rows.specs.get(f"{workload.id}@{workload.spec_revision}")
        if workload.phase.ended or spec is None:
            continue
        queue = spec.spec.queue
        if queue in names and queue not in parents:
            continue
        has = "is not in the file" if queue not in names else "has parts in the file"
        raise InvalidSpec(
            f"the queue {queue!r} {has}, and {workload.name} ({workload.id}) is in it.",
            where=Where(file=read.file, line=read.line_of(("queues", queue)), key=f"queues.{queue}"),
            hint="Keep the queue as it is until its work has ended, or stop that first.",
        )


def _target(read: QueueFile, rows: Rows) -> tuple[Rows, list[Change]]:
    """The rows as they would be, and the changes that lead there."""
    target, changes = rows.copy(), list[Change]()
    if read.queues is not None:
        wanted = {str(queue.name): queue for queue in read.queues}
        for name in sorted(rows.queues.keys() - wanted.keys()):
            changes.append(remove(target.queues.pop(name)))
        for name, queue in sorted(wanted.items()):
            standing = rows.queues.get(name)
            if standing is None or replace(queue, version=standing.version) != standing:
                target.queues[name] = replace(queue, version=1 if standing is None else standing.version + 1)
                changes.append(put(target.queues[name]))
    if read.policy is not None:
        before = rows.policies.get(POLICY_KEY)
        if before is None or replace(read.policy, version=before.version) != before:
            target.policies[POLICY_KEY] = replace(read.policy, version=1 if before is None else before.version + 1)
            changes.append(put(target.policies[POLICY_KEY]))
    return target, changes


def _difference(rows: Rows, target: Rows, now: float | None) -> QueueChanges:
    """In words; with a time also what would move then."""
    added = tuple(sorted(target.queues.keys() - rows.queues.keys()))
    removed = tuple(sorted(rows.queues.keys() - target.queues.keys()))
    both = sorted(target.queues.keys() & rows.queues.keys())
    changed = tuple(name for name in both if target.queues[name] != rows.queues[name])
    lines = [f"{name}: {', '.join(_words(rows.queues[name], target.queues[name]))}" for name in changed]
    old = rows.policies.get(POLICY_KEY, DEFAULT_POLICY)
    policy = tuple(_words(old, target.policies.get(POLICY_KEY, DEFAULT_POLICY)))
    found = QueueChanges(
        dry_run=now is not None, added=added, changed=changed, removed=removed, changes=tuple(lines), policy=policy
    )
    return found if now is None else _with_moves(found, rows, target, now)


def _with_moves(found: QueueChanges, rows: Rows, target: Rows, now: float) -> QueueChanges:
    """The same state planned by the queues as they are and as they would be."""
    before, after = plan(build(rows), now), plan(build(target), now)
    started, starts = ({(start.workload, start.replica) for start in each.starts} for each in (before, after))
    stopped = {stop.attempt for stop in before.stops}
    return replace(
        found,
        starts=_refs(rows, (ident for ident, _ in starts - started)),
        holds=_refs(rows, (ident for ident, _ in started - starts)),
        stops=_refs(
            rows, (rows.attempts[stop.attempt].workload for stop in after.stops if stop.attempt not in stopped)
        ),
        over=tuple(_over(after)),
    )


def _refs(rows: Rows, idents: Iterable[str]) -> tuple[WorkloadRef, ...]:
    return tuple(
        WorkloadRef(id=row.id, name=row.name, queue=rows.spec(row.id).spec.queue)
        for row in (rows.workloads[ident] for ident in sorted(set(idents)))
    )


def _over(after: Plan) -> Iterator[str]:
    """``research: 24 H100 of at most 16``."""
    for standing in after.queues:
        for resource, used in standing.used.items():
            limit = standing.queue.limit(resource)
            if limit is not None and used > limit:
                words = f"{print_amount(resource, used)} {resource} of at most {print_amount(resource, limit)}"
                yield f"{standing.queue.name}: {words}"


def _words(before: Queue | SchedulerPolicy, after: Queue | SchedulerPolicy) -> Iterator[str]:
    """``weight 1 -> 2``, ``quota.H100 8 -> 16``."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for name in [*old, *(name for name in new if name not in old)]:
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if is_dataclass(value):
        for each in fields(value):
            if each.name not in ("version", "name") or path:
                yield from _leaves(getattr(value, each.name), f"{path}.{each.name}".lstrip("."))
    elif isinstance(value, Mapping):
        for key in sorted(value):
            said = print_amount(key, value[key]) if isinstance(value[key], int) else f"{value[key]:g}"
            yield f"{path}.{key}", said
    else:
        yield path, f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _draft(changes: list[Change], found: QueueChanges, *, at: float, by: str) -> Draft:
    parts = [
        f"{len(names)} {word}"
        for names, word in ((found.added, "added"), (found.changed, "changed"), (found.removed, "removed"))
        if names
    ]
    text = f"{by} changed the queues: {', '.join(parts)}" if parts else f"{by} changed the scheduler's settings"
    return Draft(
        kind=EventKind.QUEUES_CHANGED, at=at, changes=tuple(changes), actor=by, text=text, project=SYSTEM_PROJECT
    )
