"""What is counted of an answer as it passes: when it began, its events, and what the engine says at its end."""

from __future__ import annotations

from time import monotonic

from ampacity.serving.metering import Counted, counted_in

ENVELOPE_BYTES = 300
BYTES_A_TOKEN = 4


class Tally:
    """One request's. ``replica``: the engine that answered last; ``first_at``: when its body began (steady seconds)."""

    __slots__ = ("_before", "_bytes", "_events", "_last", "first_at", "replica")

    def __init__(self) -> None:
        self.replica = ""
        self.first_at: float | None = None
        self._events = self._bytes = 0
        self._before = self._last = b""

    def piece(self, data: bytes) -> None:
        """A piece of the body, as the engine sent it."""
        if self.first_at is None:
            self.first_at = monotonic()
        self._events += data.count(b"data:")
        self._bytes += len(data)
        self._before, self._last = self._last, data

    def counted(self) -> Counted | None:
        """What the engine counted: it says so at the end, which may lie across two pieces."""
        return counted_in(self._before + self._last)

    @property
    def events(self) -> int:
        """How many events have passed, which is about how many tokens."""
        return self._events

    @property
    def guess(self) -> int:
        """About how many tokens an answer has that is no stream."""
        return max(1, (self._bytes - ENVELOPE_BYTES) // BYTES_A_TOKEN)
