"""Paths through the graph of workloads that come after one another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from ampacity.model.ids import WorkloadId


def along(start: WorkloadId, further: Callable[[WorkloadId], Iterable[WorkloadId]]) -> list[WorkloadId]:
    """A workload and all that lie further along, each behind those that lead there."""
    done: dict[WorkloadId, None] = {}
    path = [(start, iter(sorted(further(start))))]
    on_path = {start}
    while path:
        ident, rest = path[-1]
        following = next(rest, None)
        if following is None:
            done.setdefault(ident)
            on_path.discard(ident)
            path.pop()
        elif following not in done and following not in on_path:
            path.append((following, iter(sorted(further(following)))))
            on_path.add(following)
    return list(reversed(done))


def longest_s(
    start: WorkloadId, after: Mapping[WorkloadId, Collection[WorkloadId]], lasts_s: Callable[[WorkloadId], float]
) -> float:
    """How long the work takes that waits for a workload, along the longest path, without its own.

    Args:
        after: by workload, those that come right after it.
    """
    found: dict[WorkloadId, float] = {}
    for ident in reversed(along(start, lambda each: after.get(each, ()))):
        below = [each for each in after.get(ident, ()) if each in found]
        found[ident] = max((found[each] + lasts_s(each) for each in below), default=0.0)
    return found[start]
