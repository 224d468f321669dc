"""The store as the control loop works with it: its own copies of the live rows, and writing on top of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ampacity.model.errors import StaleVersion
from ampacity.model.event import EventKind
from ampacity.scheduler import State, build
from ampacity.store.base import Store

from .batch import Batch
from .mirror import Mirror

log = logging.getLogger(__name__)

STALE_TRIES = 5
PAGE = 1000


class Record:
    """Keeps the mirror of the live rows and the scheduler's state equal to the store. Used by one thread.

    ``at`` is told before and after each write: ``<part>.decided``, ``<part>.written``. ``written``: how often it wrote.
    """

    mirror: Mirror
    state: State

    def __init__(self, store: Store, at: Callable[[str], None]) -> None:
        self._store, self._at, self.written = store, at, 0
        self._load()

    def _load(self) -> None:
        rows = self._store.live()
        self.mirror, self.state = Mirror(rows), build(rows)
        self._in_doubt = False

    def is_behind(self) -> bool:
        """Whether others have written since. Raises ``StoreError``."""
        return self._in_doubt or bool(self._store.events(after=self.mirror.rows.seq, limit=1))

    def catch_up(self) -> None:
        """Apply the events that are in the store and not yet here. What went wrong on the way is read anew next time.

        Raises:
            StoreError: the store cannot be read.
            StaleVersion: an event does not follow on the copies.
        """
        if self._in_doubt:
            self._load()
        self._in_doubt = True
        while True:
            events = self._store.events(after=self.mirror.rows.seq, limit=PAGE)
            if any(event.kind is EventKind.SNAPSHOT for event in events):
                self._load()
                continue
            for event in events:
                self.mirror.apply(event)
                self.state.apply(event)
            if len(events) < PAGE:
                break
        self._in_doubt = False

    def write(
        self,
        part: str,
        fill: Callable[[Batch], None],
        now: float,
        *,
        cursors: Mapping[str, str] | None = None,
        settles: bool = False,
    ) -> None:
        """Fill a batch and append it. When somebody else wrote first: read what they wrote, and fill another.

        ``settles``: the batch settles all that has changed so far, so that it need not be looked at again.

        Raises:
            StoreError: nothing was written.
            StaleVersion: others were faster every time; nothing was written.
        """
        for _ in range(STALE_TRIES):
            batch = Batch(self.mirror, now)
            fill(batch)
            if batch.drafts or cursors:
                self._at(f"{part}.decided")
                try:
                    self._store.append(batch.drafts, cursors=cursors)
                except StaleVersion as error:
                    log.info("written by another first, trying anew: %s", error)
                    self.catch_up()
                    continue
                self.written += 1
                self._at(f"{part}.written")
            if settles:
                self.mirror.changed.clear()
            self.catch_up()
            return
        raise StaleVersion(f"The rows were changed by others {STALE_TRIES} times in a row.")
