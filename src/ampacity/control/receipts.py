"""Receipts of writes: what was answered, so that a write that is asked for again is not done again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ampacity.model.errors import AmpacityError
from ampacity.model.view import WorkloadView

KEPT_S = 24 * 3600.0
KEPT_COUNT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """``digest`` tells requests apart that go by one ``key``; ``answer`` is the caller's own. ``at``: seconds since the
    epoch."""

    key: str
    digest: str
    answer: bytes
    at: float


class Repeated(AmpacityError):
    """There is a receipt of that key already."""

    code = "repeated"
    status = 409


MakeReceipt = Callable[[tuple[WorkloadView, ...], float], Receipt]


class Receipts:
    """The receipts of the last day, as long as the control plane runs."""

    def __init__(self) -> None:
        self._kept: dict[str, Receipt] = {}
        self._lock = threading.Lock()

    def get(self, key: str, now: float) -> Receipt | None:
        with self._lock:
            found = self._kept.get(key)
        return found if found is not None and now - found.at < KEPT_S else None

    def put(self, receipt: Receipt) -> None:
        """Raises ``Repeated``."""
        with self._lock:
            known = self._kept.get(receipt.key)
            if known is not None and receipt.at - known.at < KEPT_S:
                raise Repeated(f"There is a receipt of {receipt.key!r}.")
            self._kept.pop(receipt.key, None)
            self._kept[receipt.key] = receipt
            while len(self._kept) > KEPT_COUNT:
                del self._kept[next(iter(self._kept))]
