"""When wishes come in faster than it pays to look at each by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass

IN_A_ROW_S = 0.05
FEW_STEPS = 3
GATHERING_S = 0.02


@dataclass(slots=True)
class Storm:
    """Steps that follow closely on one another and come to nothing: submissions to nodes that are full, mostly.

    Each such step costs as much as the submission that it looks at. Once there were a few in a row, the loop gathers
    wishes for a moment before it takes the next. A wish on a system at rest never waits, nor does news of what runs.
    """

    _in_a_row: int = 0
    _ended_at: float = float("-inf")

    def stepped(self, *, began_at: float, ended_at: float, futile: bool) -> None:
        """Take in a step. ``futile``: it wrote nothing and had nothing to start or to stop."""
        close = began_at - self._ended_at < IN_A_ROW_S
        self._in_a_row = int(futile) * (self._in_a_row + 1 if close else 1)
        self._ended_at = ended_at

    def gathering_s(self, now: float) -> float:
        """How long to gather wishes before the next step, now that there is one."""
        storms = self._in_a_row >= FEW_STEPS and now - self._ended_at < IN_A_ROW_S
        return GATHERING_S if storms else 0.0
