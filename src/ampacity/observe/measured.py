"""What was measured, as it is read: the newest samples of the machine, its devices, members and ranks."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from .places import ENDED, SUFFIX, device_order, metrics_folder
from .ring import Fold, NotARing, RingReader, Values

MAX_AGE_S = 5
"""A series without a sample for so long is not shown: what it was of is gone, or nobody watches."""

RATE_OVER_S = 5

HISTORY: Mapping[str, tuple[str, ...]] = {
    "host": ("cpu_percent", "memory_available_bytes"),
    "device": ("utilisation_percent", "power_w"),
    "member": ("cpu_percent", "device_utilisation_percent"),
}
"""The columns whose history is told, by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One thing that is watched. ``values``: by column (``observe/columns.py``), what is known. ``history``: by column,
    evenly spaced up to ``at`` (seconds since the epoch), ``None`` where there is no sample. ``rates``: by counter, its
    growth a second, over the last ``RATE_OVER_S``; told with the history."""

    labels: Mapping[str, str]
    at: float
    values: Mapping[str, float]
    history: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)

    def value(self, name: str) -> float | None:
        return self.values.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All that is watched now. ``step_s``: the distance of two points of a history."""

    at: float
    hosts: tuple[Series, ...] = ()
    devices: tuple[Series, ...] = ()
    members: tuple[Series, ...] = ()
    ranks: tuple[Series, ...] = ()
    step_s: float = 1.0


class MetricsFolder:
    """Reads the files that the collector of a state folder writes. Safe to use from several threads."""

    def __init__(self, state_dir: str | os.PathLike[str]) -> None:
        self._folder = metrics_folder(state_dir)
        self._readers: dict[str, RingReader] = {}
        self._lock = threading.Lock()

    def read(self, now: float, *, history_points: int = 0, step_s: float = 1.0) -> Measurements:
        """What has a sample that is not older than ``MAX_AGE_S``. Nothing, where no collector ever ran."""
        with self._lock:
            self._follow_folder()
            kinds: dict[str, list[Series]] = {"host": [], "device": [], "member": [], "rank": []}
            for name in sorted(self._readers):
                reader = self._readers[name]
                newest = reader.latest(now, max_age_s=MAX_AGE_S)
                if newest is not None and reader.layout.kind in kinds:
                    series = _series(reader, newest)
                    if history_points:
                        past = _history(reader, HISTORY.get(reader.layout.kind, ()), now, history_points, step_s)
                        series = replace(series, history=past, rates=_rates(reader, newest))
                    kinds[reader.layout.kind].append(series)
        devices = sorted(kinds["device"], key=lambda each: device_order(each.labels))
        return Measurements(
            at=now,
            hosts=tuple(kinds["host"]),
            devices=tuple(devices),
            members=tuple(kinds["member"]),
            ranks=tuple(kinds["rank"]),
            step_s=step_s,
        )

    def totals(self, attempts: Collection[str]) -> tuple[Series, ...]:
        """The last sample of every member of these attempts, of those that have ended too, while it is kept."""
        found = []
        for folder in (self._folder, os.path.join(self._folder, ENDED)):
            for attempt in attempts:
                for name in _names(folder, f"member-{attempt}-"):
                    series = _last(os.path.join(folder, name))
                    if series is not None and series.labels["attempt"] == attempt:
                        found.append(series)
        return tuple(found)

    def close(self) -> None:
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()

    def _follow_folder(self) -> None:
        """Open what is new, and let go of what was moved away or replaced."""
        names = set(_names(self._folder, ""))
        for name in list(self._readers):
            if name not in names or _inode(os.path.join(self._folder, name)) != self._readers[name].identity:
                self._readers.pop(name).close()
        for name in names - self._readers.keys():
            with contextlib.suppress(NotARing, FileNotFoundError):
                self._readers[name] = RingReader(os.path.join(self._folder, name))


def _names(folder: str, prefix: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.startswith(prefix) and name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


def _last(path: str) -> Series | None:
    try:
        reader = RingReader(path)
    except (NotARing, FileNotFoundError):
        return None
    try:
        newest = reader.last()
        return None if newest is None else _series(reader, newest)
    finally:
        reader.close()


def _series(reader: RingReader, newest: Values) -> Series:
    pairs = zip(reader.layout.columns, newest[1:], strict=True)
    values = {column.name: value for column, value in pairs if not math.isnan(value)}
    return Series(labels=reader.layout.labels, at=newest[0], values=values)


def _rates(reader: RingReader, newest: Values) -> dict[str, float]:
    """Of the counters that did not begin anew meanwhile."""
    before = next(iter(reader.window(newest[0] - RATE_OVER_S, newest[0] - 0.5, archive=0)), None)
    if before is None:
        return {}
    lasted_s = newest[0] - before[0]
    grown = {
        column.name: (newest[place] - before[place]) / lasted_s
        for place, column in enumerate(reader.layout.columns, 1)
        if column.fold is Fold.LAST
    }
    return {name: rate for name, rate in grown.items() if rate >= 0}


def _history(
    reader: RingReader, wanted: tuple[str, ...], now: float, points: int, step_s: float
) -> dict[str, tuple[float | None, ...]]:
    """The mean of what was sampled in each of the last ``points`` steps."""
    if not wanted:
        return {}
    since = now - points * step_s
    records = reader.window(since, now)
    told: dict[str, tuple[float | None, ...]] = {}
    for name in wanted:
        place = reader.layout.index[name]
        sums, counts = [0.0] * points, [0] * points
        for record in records:
            slot = min(points - 1, int((record[0] - since) / step_s))
            if not math.isnan(record[place]):
                sums[slot] += record[place]
                counts[slot] += 1
        told[name] = tuple(total / count if count else None for total, count in zip(sums, counts, strict=True))
    return told
