"""What is no longer wanted goes: workloads that ended long ago with their logs, old events, and old receipts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from ampacity.drivers.base import Driver
from ampacity.model.attempt import Attempt
from ampacity.model.errors import AmpacityError, DriverError, NotFound, StaleVersion
from ampacity.model.event import Draft, EventKind, Row, Rows, Table, remove
from ampacity.model.ids import WorkloadId
from ampacity.model.node import Node
from ampacity.model.workload import Workload
from ampacity.store.feed import FeedStore

log = logging.getLogger(__name__)

EVERY_S = 60.0
LOT = 100
"""How many workloads are forgotten in one transaction."""

RECEIPTS_KEPT_S = 86400.0


class Housekeeping:
    """Tidies once a minute in a thread of its own; each thing that it does is short, so nobody waits for it.

    Args:
        keep_finished_s: how long workloads are kept after their end.
        keep_events_s: how long events are kept one by one; then only what they amount to is.
    """

    def __init__(
        self,
        store: FeedStore,
        drivers: Mapping[str, Driver],
        clock: Callable[[], float],
        *,
        keep_finished_s: float,
        keep_events_s: float,
    ) -> None:
        self._store, self._drivers, self._clock = store, drivers, clock
        self._keep_finished_s, self._keep_events_s = keep_finished_s, keep_events_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Safe to call twice, and before the start."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def tidy(self) -> None:
        """Do all that is due. Raises ``StoreError``."""
        now = self._clock()
        while not self._ending.is_set():
            due = self._store.finished(before=now - self._keep_finished_s, limit=LOT)
            if not self._forget(due):
                break
        self._store.compact(before=self._store.last_before(now - self._keep_events_s))
        self._store.forget_receipts(before=now - RECEIPTS_KEPT_S)

    def _run(self) -> None:
        while not self._ending.wait(EVERY_S):
            try:
                self.tidy()
            except AmpacityError as error:
                log.warning("tidying comes to nothing now and is tried again: %s", error)

    def _forget(self, due: tuple[WorkloadId, ...]) -> bool:
        """What the drivers keep goes first: a workload whose rows are gone is never looked for again.

        Returns whether there may be more to do.
        """
        needed = {before for row in self._store.live_workloads() for before in row.after}
        drafts = []
        for ident in due:
            rows = self._store.of_workload(ident)
            if ident not in needed and ident in rows.workloads and self._forget_members(rows):
                drafts.append(_forgotten(rows, rows.workloads[ident], self._clock()))
        if not drafts:
            return False
        try:
            self._store.append(drafts)
        except StaleVersion as error:
            log.info("written by another first, looked at again next time: %s", error)
            return False
        return len(due) == LOT

    def _forget_members(self, rows: Rows) -> bool:
        """Whether all that the drivers kept of the attempts is gone."""
        return all(self._forget_attempt(attempt) for attempt in rows.attempts.values())

    def _forget_attempt(self, attempt: Attempt) -> bool:
        for member in attempt.members:
            node = self._store.get(Table.NODES, member.node)
            known = self._drivers.get(node.driver) if isinstance(node, Node) else None
            for driver in self._drivers.values() if known is None else (known,):
                try:
                    driver.forget(attempt.key(member.index))
                except NotFound:
                    continue
                except (DriverError, OSError) as error:
                    log.info("%s is not forgotten yet: %s", attempt.key(member.index), error)
                    return False
        return True


def _forgotten(rows: Rows, workload: Workload, now: float) -> Draft:
    """The event that removes all rows of the workload."""
    parts: tuple[Row, ...] = (
        *rows.attempts.values(),
        *rows.replicas.values(),
        *rows.desired.values(),
        *rows.specs.values(),
    )
    return Draft(
        kind=EventKind.WORKLOAD_FORGOTTEN,
        at=now,
        changes=tuple(remove(row) for row in (*parts, workload)),
        project=workload.project,
        owner=workload.owner,
        workload=workload.id,
        text=f"{workload.name} was forgotten: it ended long ago",
    )
