"""Queues: who may use how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .ids import QueueName


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue of the tree. Amounts are those of :mod:`ampacity.model.amounts`.

    Attributes:
        parent: the queue that it is a part of; empty = it stands at the top.
        weight: its part of what is over the quotas, against its siblings'.
        quota: what it can count on. It has no right to a resource that is not named, and may use it all the same
            where others leave it.
        borrowing: the most that it may use beyond its quota; a resource that is not named is not limited.
        borrows: ``False``: no more than its quota, of the resources that the quota names.
        lending: the most of its quota that others may use while it does not; a resource that is not named: all.
        lends: ``False``: nothing of its quota is lent.
        reclaims: may have stopped what others borrow of its quota when it needs it.
    """

    name: QueueName
    parent: str = ""
    weight: float = 1.0
    quota: Mapping[str, int] = field(default_factory=dict)
    borrowing: Mapping[str, int] = field(default_factory=dict)
    borrows: bool = True
    lending: Mapping[str, int] = field(default_factory=dict)
    lends: bool = True
    reclaims: bool = True
    version: int = 1

    def limit(self, name: str) -> int | None:
        """The most that it may use of a resource; ``None`` = it is not limited."""
        if not self.borrows and name in self.quota:
            return self.quota[name]
        if name in self.borrowing:
            return self.quota.get(name, 0) + self.borrowing[name]
        return None

    def kept(self, name: str) -> int:
        """What of its quota is never lent."""
        quota = self.quota.get(name, 0)
        if not self.lends:
            return quota
        return max(0, quota - self.lending[name]) if name in self.lending else 0
