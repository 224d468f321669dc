"""Which queue is next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from ampacity.model.amounts import Amounts
from ampacity.model.policy import Sharing

from .heads import Head
from .purse import Purse
from .rules import dominant_share, within_quota
from .tree import TOP

PeekOf = Callable[[str], Head | None]
"""The head of a queue; ``None`` = it has none any more."""


class Contest(Protocol):
    """Names the queue whose head is next; ``None`` = there is none any more."""

    def next(self) -> tuple[str, Head] | None: ...

    def changed(self, queue: str) -> None:
        """It has another head, or it, or what it is a part of, uses more."""
        ...


def contest(
    sharing: Sharing, queues: list[str], peek: PeekOf, purse: Purse, demand_of: Callable[[Head], Amounts]
) -> Contest:
    match sharing:
        case Sharing.SINGLE_LINE:
            return SingleLine(dict.fromkeys(queues), peek)
        case Sharing.DOMINANT_SHARE:
            return DominantShare(purse, peek, demand_of).of(queues)


@dataclass(slots=True)
class SingleLine:
    """All heads in one line, by their own order."""

    heads: dict[str, Head | None]
    peek: PeekOf
    _stale: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._stale.update(self.heads)

    def next(self) -> tuple[str, Head] | None:
        for queue in self._stale:
            self.heads[queue] = self.peek(queue)
        self._stale.clear()
        standing = [(head.score, queue, head) for queue, head in self.heads.items() if head is not None]
        if not standing:
            return None
        _, queue, head = min(standing, key=lambda each: each[0])
        return queue, head

    def changed(self, queue: str) -> None:
        self._stale.add(queue)


Key = tuple[bool, float, str]
"""Those that stay within their quota first, then who has the smallest share for its weight, then by name."""

Choice = tuple[Key, str, Head]
"""How a branch of the tree stands, and the queue in it that is next with its head."""


@dataclass(slots=True)
class DominantShare:
    """Down the tree, at each level to the queue that stands best. A head counts for all that its queue is a part of."""

    purse: Purse
    peek: PeekOf
    demand_of: Callable[[Head], Amounts]
    _below: dict[str, set[str]] = field(default_factory=dict)
    _own: set[str] = field(default_factory=set)
    _known: dict[str, Choice | None] = field(default_factory=dict)

    def of(self, queues: list[str]) -> DominantShare:
        tree = self.purse.shares.tree
        for queue in queues:
            self._own.add(queue)
            chain = (*tree.chain(queue), TOP)
            for part, whole in pairwise(chain):
                self._below.setdefault(whole, set()).add(part)
        return self

    def next(self) -> tuple[str, Head] | None:
        found = self._choice(TOP)
        return None if found is None else found[1:]

    def changed(self, queue: str) -> None:
        for name in (*self.purse.shares.tree.chain(queue), TOP):
            self._known.pop(name, None)

    def _choice(self, name: str) -> Choice | None:
        if name not in self._known:
            self._known[name] = self._chosen(name)
        return self._known[name]

    def _chosen(self, name: str) -> Choice | None:
        known, parts = self._known, self._below.get(name, ())
        choices = [known[part] if part in known else self._choice(part) for part in parts]
        below = [choice for choice in choices if choice is not None]
        if name in self._own and (head := self.peek(name)) is not None:
            below.append(((False, 0.0, name), name, head))  # its own work, beside that of its parts
        if not below:
            return None
        _, queue, head = min(below, key=lambda choice: choice[0])
        return self._key(name, head), queue, head

    def _key(self, name: str, head: Head) -> Key:
        if name == TOP:
            return (False, 0.0, name)
        shares, used = self.purse.shares, self.purse.used
        over = not within_quota(shares.tree, used, name, self.demand_of(head))
        share = dominant_share(used.get(name, {}), shares.capacity)
        return over, share / shares.tree.queue(name).weight, name
