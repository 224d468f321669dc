"""Why each replica waits that does, written out for those alone that somebody asks about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from ampacity.model.ids import WorkloadId
from ampacity.model.plan import Wait, WaitCode

from .order import Want

Change = str | Callable[[], str]
"""What would let it start: worked out when somebody asks for it, since that takes longer than the rest."""

Reason = tuple[WaitCode, str, Change]
"""The constraint, the sentence, and what would let it start."""

Because = tuple[Callable[[Want], Reason], Sequence[Want]]
"""What says why of each of those who wait, when somebody wants to know."""


def said(change: Change) -> str:
    return change if isinstance(change, str) else change()


class Waiting:
    """The waits of a plan. May be read from any thread."""

    def __init__(
        self, held: Iterable[Wait], reasons: Callable[[], Iterable[Because]], outlook: Callable[[Want], str]
    ) -> None:
        """``reasons`` and ``outlook`` have to give the same whenever they are called."""
        self._held, self._reasons, self._outlook = tuple(held), reasons, outlook

    def write_out(self, only: WorkloadId | None) -> Iterator[Wait]:
        """Those of one workload, or of all."""
        for parts in self._by_workload.values() if only is None else [self._by_workload.get(only, [])]:
            for part in parts:
                yield part if isinstance(part, Wait) else self._wait(*part)

    def write_briefly(self, only: WorkloadId) -> Iterator[Wait]:
        """Those of one workload, without what would let it start and what it may expect."""
        for part in self._by_workload.get(only, []):
            yield part if isinstance(part, Wait) else self._wait(*part, briefly=True)

    @cached_property
    def _by_workload(self) -> dict[WorkloadId, list[Wait | tuple[Callable[[Want], Reason], Want]]]:
        found: dict[WorkloadId, list[Wait | tuple[Callable[[Want], Reason], Want]]] = {}
        for wait in self._held:
            found.setdefault(wait.workload, []).append(wait)
        for because, rests in self._reasons():
            for want in rests:
                found.setdefault(want.workload.id, []).append((because, want))
        return found

    def _wait(self, because: Callable[[Want], Reason], want: Want, *, briefly: bool = False) -> Wait:
        code, text, change = because(want)
        return Wait(
            workload=want.workload.id,
            replica=want.replica.index,
            code=code,
            text=text,
            change="" if briefly else said(change),
            outlook="" if briefly else self._outlook(want),
        )
