"""Fencing: what a node still runs of attempts that were given up, while it was silent, is stopped when it returns.

The node's row stays silent until that was done; so no process of an older epoch meets a newer one there, and whoever
is killed in between begins again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ampacity.model.attempt import AttemptPhase, MemberPhase
from ampacity.model.ids import MemberKey, NodeId
from ampacity.model.node import Node
from ampacity.store.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """One member that has to be stopped before its node is used again."""

    key: MemberKey
    driver: str


class Fences:
    """What is left to be stopped, by the node that is back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left: dict[NodeId, dict[MemberKey, Fence]] = {}

    def hold(self, node: Node) -> bool:
        """Whether the node, silent by its row and now back, has something that must be stopped first."""
        if node.id not in self._left:
            self._left[node.id] = self._lost_on(node)
        return bool(self._left[node.id])

    def forget(self, node: NodeId) -> None:
        """It is in use, or silent (again)."""
        self._left.pop(node, None)

    def left(self) -> list[Fence]:
        return [fence for fences in self._left.values() for fence in fences.values()]

    def lift(self, stopped: Collection[MemberKey]) -> bool:
        """These were told to stop. ``True`` = a node has nothing left."""
        lifted = False
        for fences in self._left.values():
            told = [key for key in fences if key in stopped]
            for key in told:
                del fences[key]
            lifted = lifted or bool(told and not fences)
        return lifted

    def _lost_on(self, node: Node) -> dict[MemberKey, Fence]:
        """Members there of attempts that were lost in this silence. Looks through all rows, ended workloads' too."""
        since = node.unknown_since or 0.0
        found = (
            Fence(key=attempt.key(member.index), driver=node.driver)
            for attempt in self._store.rows().attempts.values()
            if attempt.phase is AttemptPhase.LOST and (attempt.ended_at or 0.0) >= since
            for member in attempt.members
            if member.node == node.id and member.phase is not MemberPhase.EXITED
        )
        return {fence.key: fence for fence in found}
