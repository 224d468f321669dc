"""What all policies that score rows have in common: scores are kept by ask, and the best rows are picked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ampacity.scheduler.columns import Counts, Flags

from .base import Ask, Asked, Choice, Floats, Mix, Rating, Room
from .kernels import Kept

MOST_ASKS = 4096
"""So many asks have their scores kept: 200 MB at 12,500 nodes. Behind that the kept ones are dropped."""


FASTER = 1e8
"""What being on the fastest kind is worth: more than any score, so that kinds come first by their speed."""


class ScoreKeeper:
    """The scores of every ask on every row, and which of them still stand."""

    def __init__(self, refresh: Callable[[Kept, Room, Asked], None]) -> None:
        """``refresh`` writes the scores of the rows whose version changed."""
        self._refresh = refresh
        self._kept: dict[Ask, tuple[Asked, Kept]] = {}
        self._known_for = -1, -1, -1

    def of(self, room: Room, ask: Ask) -> Kept:
        """The scores of the ask as the room now is."""
        # the codes that an ask allows are laid out for so many kinds, and scores are parts of the largest node
        known_for = room.kinds, room.most_cpu, room.most_device
        if known_for != self._known_for:
            self.forget()
            self._known_for = known_for
        found = self._kept.get(ask)
        if found is None or len(found[1].version) != room.size:
            if len(self._kept) >= MOST_ASKS:
                self._kept.clear()
            found = self._kept[ask] = Asked.of(ask, room.kinds), _nothing(room.size)
        asked, kept = found
        self._refresh(kept, room, asked)
        return kept

    def forget(self) -> None:
        """Score everything anew."""
        self._kept.clear()


def _nothing(size: int) -> Kept:
    return Kept(
        version=np.full(size, -1, np.int64),
        value=np.full(size, -np.inf),
        slot=np.full(size, -1, np.int64),
    )


class ScoringPolicy:
    """A policy whose choice is the row with the highest value; ties go to the lowest rank."""

    def __init__(self, name: str, refresh: Callable[[Kept, Room, Asked], None]) -> None:
        self._name = name
        self._keeper = ScoreKeeper(refresh)

    @property
    def name(self) -> str:
        return self._name

    def learn(self, mix: Mix) -> None:
        """Nothing of this policy depends on the demand."""

    def begin(self, room: Room) -> None:
        """Nothing of this policy depends on the room as a whole."""

    def hold(self, row: int, ask: Ask) -> None:
        """Nothing is remembered of who is where."""

    def release(self, row: int, ask: Ask) -> None:
        """Nothing is remembered of who is where."""

    def rate(self, room: Room, ask: Ask) -> Rating:
        kept = self._keeper.of(room, ask)
        return Rating(value=self._settle(kept.value, room, ask), slot=kept.slot)

    def choose(self, room: Room, ask: Ask, *, among: Flags | None = None, count: int = 1) -> list[Choice]:
        kept = self._keeper.of(room, ask)
        value = self._settle(kept.value if among is None else np.where(among, kept.value, -np.inf), room, ask)
        return [
            Choice(row=row, slots=_slots(room, ask, row, int(kept.slot[row])), score=float(value[row]))
            for row in best_rows(value, room.rank, count)
        ]

    def _settle(self, value: Floats, room: Room, ask: Ask) -> Floats:
        """The values by which rows are compared; ``-inf`` stays. Here: the fastest kinds first."""
        return value + FASTER * speed_of_rows(room, ask) if ask.speeds else value


def speed_of_rows(room: Room, ask: Ask) -> Floats:
    """[n] how fast the ask runs on the kind of each row, over the best."""
    speeds = np.ones(room.kinds + 1)
    speeds[: len(ask.speeds)] = ask.speeds[: room.kinds]
    return speeds[room.kind]


def best_rows(value: Floats, rank: Counts, count: int) -> list[int]:
    """The rows with the highest values above ``-inf``, ties by rank."""
    if count == 1:
        rows = np.flatnonzero(value == value.max(initial=-np.inf))
        if not len(rows) or value[rows[0]] == -np.inf:
            return []
        return [int(rows[rank[rows].argmin()])]
    rows = np.flatnonzero(value > -np.inf)
    if count < len(rows):
        bound = np.partition(value[rows], len(rows) - count)[len(rows) - count]
        rows = rows[value[rows] >= bound]
    return [int(row) for row in rows[np.lexsort((rank[rows], -value[rows]))][:count]]


def _slots(room: Room, ask: Ask, row: int, slot: int) -> tuple[int, ...]:
    """The devices on a row where it fits: whole ones of the lowest index; for a share the one given, or the fullest."""
    if slot >= 0:
        return (slot,)
    allowed, left = ask.allowed(room.kinds), room.device_left[row]
    usable = allowed[room.device_kind[row]] & (room.device_memory[row] >= ask.device_memory_bytes)
    fitting = np.flatnonzero(usable & (left >= ask.device_milli))
    if ask.shares:
        return (int(fitting[left[fitting].argmin()]),)
    return tuple(int(each) for each in fitting[: ask.count])
