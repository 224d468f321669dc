"""Reading a queue file: its documents with ``queues`` or ``scheduler`` at their top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ampacity.model.amounts import parse_amount
from ampacity.model.errors import InvalidSpec
from ampacity.model.ids import QueueName
from ampacity.model.policy import BackfillPolicy, Multifactor, Points, SchedulerPolicy
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.queue import Queue
from ampacity.model.workload_file.check import check_keys
from ampacity.model.workload_file.mistakes import Mistake, Mistakes, Path
from ampacity.model.workload_file.tree import Document, Number, read_documents
from ampacity.model.workload_file.types import nearest, said

from .keys import (
    NONE,
    BackfillKeys,
    MultifactorKeys,
    PointKeys,
    PreemptionKeys,
    QueueFileKeys,
    QueueKeys,
    SchedulerKeys,
)

TOPS = tuple(QueueFileKeys.model_fields)
"""The keys that a document about queues has at its top; a workload has none of them."""

_NAME = re.compile("[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFile:
    """What a file says about queues. ``None``: nothing, so that it stays as it is. ``lines``: of keys, for messages."""

    file: str
    queues: tuple[Queue, ...] | None = None
    policy: SchedulerPolicy | None = None
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int:
        """The line of the place, or of the nearest one above it; 0 = unknown."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


def is_about_queues(plain: object) -> bool:
    return isinstance(plain, Mapping) and any(top in plain for top in TOPS)


def parse_queue_file(text: str | bytes, *, file: str) -> QueueFile:
    """The queue tree and the settings that the file gives. Documents that are workloads are passed over.

    Raises:
        InvalidSpec: with the line and key of the topmost mistake: keys and values that are not known, a parent that is
            not there, queues that are parts of each other, quotas that add up to more than their parent's. The hint
            goes on to name all others.
    """
    mistakes = Mistakes(file=file)
    found = QueueFile(file=file)
    seen: dict[str, int] = {}
    for document in read_documents(text, mistakes):
        if not is_about_queues(document.value):
            continue
        for top in TOPS:
            if isinstance(document.value, Mapping) and top in document.value:
                line = document.line_of((top,))
                if top in seen:
                    message = f"is given twice; the first time in line {seen[top]}."
                    mistakes.add(Mistake(message, path=(top,), line=line, hint="Write all of it in one place."))
                seen.setdefault(top, line)
        found = _document(document, found, mistakes)
    mistakes.raise_any()
    return found


def _document(document: Document, found: QueueFile, mistakes: Mistakes) -> QueueFile:
    plain = document.value
    assert isinstance(plain, dict), "it is about queues"
    keys = check_keys(plain, QueueFileKeys, document.line_of, mistakes)
    if keys is None:
        return found
    lines = {**found.lines, **document.lines}
    if keys.queues is not None:
        queues = tuple(
            queue for name, each in keys.queues.items() if (queue := _queue(name, each, document, mistakes)) is not None
        )
        found = replace(found, queues=queues)
    if keys.scheduler is not None:
        found = replace(found, policy=_policy(keys.scheduler, document, mistakes))
    found = replace(found, lines=lines)
    if keys.queues is not None and not mistakes.found:
        from .sound import refuse_bent

        refuse_bent(found, mistakes)
    return found


def _queue(name: str, plain: object, document: Document, mistakes: Mistakes) -> Queue | None:
    at: Path = ("queues", name)
    if not _NAME.fullmatch(name):
        message = f"{name[:60]!r} is not a name: small letters, digits and '-', at most 63, '-' not first."
        mistakes.add(Mistake(message, path=at, line=document.line_of(at)))
        return None
    if not isinstance(plain, Mapping):
        hint = "Write {} for one without anything special."
        mistakes.add(
            Mistake(f"has to be a map of keys, not {said(plain)}.", path=at, line=document.line_of(at), hint=hint)
        )
        return None
    keys = check_keys(plain, QueueKeys, document.line_of, mistakes, at=at)
    if keys is None:
        return None
    return Queue(
        name=QueueName(name),
        parent=keys.parent or "",
        weight=1.0 if keys.weight is None else keys.weight,
        quota=_amounts(keys.quota, (*at, "quota"), document, mistakes),
        borrowing=_amounts(keys.borrow, (*at, "borrow"), document, mistakes),
        borrows=keys.borrow != NONE,
        lending=_amounts(keys.lend, (*at, "lend"), document, mistakes),
        lends=keys.lend != NONE,
        reclaims=keys.reclaim is not False,
    )


def _amounts(plain: object, at: Path, document: Document, mistakes: Mistakes) -> dict[str, int]:
    if not isinstance(plain, Mapping):
        return {}
    found: dict[str, int] = {}
    for name, value in plain.items():
        try:
            if not isinstance(value, str | int | float) or isinstance(value, bool):
                raise InvalidSpec(f"has to be an amount, not {said(value)}.", hint="Such as 8, or 4TB.")
            found[name] = parse_amount(name, str(value))
        except InvalidSpec as error:
            path = (*at, name)
            mistakes.add(Mistake(error.message, path=path, line=document.line_of(path), hint=error.hint))
    return found


def _policy(keys: SchedulerKeys, document: Document, mistakes: Mistakes) -> SchedulerPolicy:
    """Settings that are left out have their defaults."""
    usual = SchedulerPolicy()
    points, factors, backfill = keys.points or PointKeys(), keys.multifactor or MultifactorKeys(), keys.backfill
    return replace(
        usual,
        **_filled(
            sharing=keys.sharing,
            order=keys.order,
            placement=keys.placement,
            half_life_s=_positive(keys.usage_half_life, ("scheduler", "usage_half_life"), document, mistakes),
            usage_weights=_weights(keys.usage_weights, document, mistakes),
        ),
        points=Points(
            **_filled(
                ageing_s=_positive(points.ageing, ("scheduler", "points", "ageing"), document, mistakes),
                fair_share=points.fair_share,
                deadline=points.deadline,
                deadline_margin_s=points.deadline_margin,
                critical_path=points.critical_path,
            )
        ),
        multifactor=Multifactor(
            **_filled(
                age=factors.age,
                fair_share=factors.fair_share,
                size=factors.size,
                priority=factors.priority,
                max_age_s=_positive(factors.max_age, ("scheduler", "multifactor", "max_age"), document, mistakes),
            )
        ),
        backfill=_backfill(backfill or BackfillKeys(), document, mistakes),
        preemption=_preemption(keys.preemption or PreemptionKeys()),
    )


def _backfill(keys: BackfillKeys, document: Document, mistakes: Mistakes) -> BackfillPolicy:
    assumed = ("scheduler", "backfill", "assumed_runtime")
    return BackfillPolicy(
        **_filled(
            name=keys.policy,
            depth=keys.depth,
            tests=keys.tests,
            assumed_runtime_s=_positive(keys.assumed_runtime, assumed, document, mistakes),
        )
    )


def _preemption(keys: PreemptionKeys) -> PreemptionPolicy:
    return PreemptionPolicy(
        **_filled(
            enabled=keys.enabled,
            floor_s=keys.floor,
            restart_s=keys.restart,
            grow=keys.grow,
            grow_after_s=keys.grow_after,
            defragment=keys.defragment,
            defragment_gain=keys.defragment_gain,
        )
    )


def _positive(time_s: float | None, path: Path, document: Document, mistakes: Mistakes) -> float | None:
    if time_s == 0:
        mistakes.add(Mistake("is no time at all.", path=path, line=document.line_of(path), hint="Such as 1d."))
    return time_s


def _weights(plain: object, document: Document, mistakes: Mistakes) -> dict[str, float] | None:
    if not isinstance(plain, Mapping):
        return None
    found: dict[str, float] = {}
    for name, value in plain.items():
        path: Path = ("scheduler", "usage_weights", name)
        if not isinstance(value, Number) or not re.fullmatch("[0-9]{1,6}([.][0-9]{1,6})?", value):
            mistakes.add(
                Mistake(f"has to be a number from 0 on, not {said(value)}.", path=path, line=document.line_of(path))
            )
        elif name in ("memory", "disk"):
            hint = nearest(name, ("accelerators", "cpus")) or "Weigh accelerators, kinds of them, and cpus."
            mistakes.add(Mistake("is not weighed.", path=path, line=document.line_of(path), hint=hint))
        else:
            found[name] = float(value)
    return found


def _filled(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
