"""The books: what gateways have written down is added up in the store, and what was spent is told to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ampacity.model.access import Budget, BudgetPeriod
from ampacity.model.errors import AmpacityError
from ampacity.model.ids import KeyId, Project
from ampacity.model.request_usage import RequestSum, UsageBy, sum_of
from ampacity.serving.admission.account import period_start
from ampacity.serving.metering.spent import Spent, write_spent
from ampacity.serving.metering.spool import Lot, Spool
from ampacity.store.base import Store

from .keys import Keys

log = logging.getLogger(__name__)

EVERY_S = 1.0
SPENT_EVERY_S = 60.0
"""Budgets begin anew by the calendar, whether anything is booked or not."""

KEPT_S = 400 * 86400.0
SOURCE = "requests:"


class Metering:
    """Books in a thread of its own. ``lost``: records that gateways had no room for, as far as they have told."""

    def __init__(self, store: Store, keys: Keys, folder: Path, clock: Callable[[], float]) -> None:
        self._store, self._keys, self._clock = store, keys, clock
        self._spool, self._spent_file = Spool(folder / "usage"), folder / "spent.json"
        self._booked: dict[str, int] | None = None
        self._spent: Spent | None = None
        self._look_again_at = self._tidy_at = 0.0
        self.lost = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metering", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Safe to call twice, and before the start."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def usage(
        self, *, by: Collection[UsageBy], since: float, until: float, project: Project | None
    ) -> tuple[RequestSum, ...]:
        """What was used: see ``Store.request_usage``."""
        return self._store.request_usage(by=by, since=since, until=until, project=project)

    def book(self) -> None:
        """Book all that waits, and tell what was spent. Raises ``StoreError``, ``OSError``."""
        count = 0
        for lot in self._spool.lots():
            count += self._book(lot)
        now = self._clock()
        if count or now >= self._look_again_at:
            self._tell_spent(now)
            self._look_again_at = now + SPENT_EVERY_S
        if now >= self._tidy_at:
            self._store.forget_request_usage(before=now - KEPT_S)
            self._tidy_at = now + 3600.0

    def _run(self) -> None:
        while not self._ending.wait(EVERY_S):
            try:
                self.book()
            except (AmpacityError, OSError) as error:
                self._booked = None  # a write that failed may have got as far as the database
                log.warning("usage cannot be booked now, and is tried again: %s", error)

    def _book(self, lot: Lot) -> int:
        """How many records of it were not in the books yet."""
        if self._booked is None:
            found = self._store.cursors().items()
            self._booked = {name.removeprefix(SOURCE): int(at) for name, at in found if name.startswith(SOURCE)}
        count = 0
        if lot.number > self._booked.get(lot.writer, 0):
            sums = [sum_of(record) for record in lot.records]
            self._store.book_requests(sums, cursors={SOURCE + lot.writer: str(lot.number)})
            self._booked[lot.writer] = lot.number
            self._note_losses(lot)
            count = len(lot.records)
        self._spool.forget(lot)
        return count

    def _note_losses(self, lot: Lot) -> None:
        if lot.lost:
            self.lost += lot.lost
            log.warning(
                "a gateway had no room for the records of %d requests: their usage is not in the books", lot.lost
            )
        if lot.torn:
            log.warning("%d records of usage were cut off by a gateway's end", lot.torn)

    # Budgets ---------------------------------------------------------------------------------------------------------

    def _tell_spent(self, now: float) -> None:
        keys = {key.id: key.limits.budget for key in self._keys.all() if key.revoked_at is None}
        projects = {row.project: row.limits.budget for row in self._keys.all_project_limits()}
        spent = Spent(
            keys={KeyId(name): money for name, money in self._money(UsageBy.KEY, keys, now).items()},
            projects={Project(name): money for name, money in self._money(UsageBy.PROJECT, projects, now).items()},
        )
        if spent != self._spent:
            write_spent(self._spent_file, spent)
            self._spent = spent

    def _money(self, by: UsageBy, budgets: Mapping[Any, Budget | None], now: float) -> dict[str, float]:
        found: dict[str, float] = {}
        for period in BudgetPeriod:
            names = {name for name, budget in budgets.items() if budget is not None and budget.period is period}
            if not names:
                continue
            sums = self._store.request_usage(by=(by,), since=period_start(period, now))
            money = {each.key if by is UsageBy.KEY else each.project: each.money for each in sums}
            found |= {name: money.get(name, 0.0) for name in names}
        return found
