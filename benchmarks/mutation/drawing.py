"""Which changes are made: so many, spread over the folders."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from mutants import Point, points

LEAST_A_FOLDER = 20
"""So many are drawn in each folder, if it has them; the rest by how many there are."""


@dataclass(frozen=True, slots=True)
class Change:
    """``path``: below the scheduler's folder."""

    path: str
    point: Point

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0] or "."

    @property
    def name(self) -> str:
        """What stays the same when lines around it come and go."""
        return f"{self.path}: {self.point.function}: `{self.point.before}` as `{self.point.after}`"

    @property
    def key(self) -> str:
        """One of its module as it is."""
        return f"{self.path}:{self.point.line}:{self.point.place}.{self.point.part}"

    def say(self) -> str:
        where = f" in {self.point.function}" if self.point.function else ""
        return f"{self.path}:{self.point.line}{where}: `{self.point.before}` as `{self.point.after}`"


def possible(scheduler: Path, only: str) -> list[Change]:
    where = scheduler / only
    return [
        Change(str(path.relative_to(scheduler)), point)
        for path in ([where] if where.is_file() else sorted(where.rglob("*.py")))
        for point in points(path.read_text())
    ]


def drawn(changes: list[Change], count: int, seed: int) -> list[Change]:
    """In an order in which the first of them are spread over the folders, too."""
    folders = defaultdict(list)
    for change in changes:
        folders[change.folder].append(change)
    generator = random.Random(seed)
    chosen = []
    for folder in sorted(folders):
        here = folders[folder]
        share = max(LEAST_A_FOLDER, round(count * len(here) / len(changes)))
        chosen += generator.sample(here, min(len(here), share if count >= LEAST_A_FOLDER * len(folders) else count))
    generator.shuffle(chosen)
    return chosen if count >= LEAST_A_FOLDER * len(folders) else chosen[:count]


def share_of_all(changes: Sequence[Change], tried: Sequence[tuple[Change, bool]]) -> tuple[float, float]:
    """Which share of all changes that are possible would be noticed, and the standard error of that: each folder counts
    by how many there are in it (stratified sampling: Cochran, "Sampling Techniques", 3rd edition, 1977, chapter 5)."""
    of_all = Counter(change.folder for change in changes)
    drawn_of, noticed_of = Counter(change.folder for change, _ in tried), Counter[str]()
    for change, noticed in tried:
        noticed_of[change.folder] += noticed
    whole, share, variance = sum(of_all[folder] for folder in drawn_of), 0.0, 0.0
    for folder, count in drawn_of.items():
        weight, here = of_all[folder] / whole, noticed_of[folder] / count
        share += weight * here
        left = 1 - count / of_all[folder]
        variance += weight**2 * left * here * (1 - here) / max(1, count - 1)
    return share, sqrt(variance)


def found_again(changes: list[Change], told: list[str]) -> list[Change]:
    """Those of an earlier run, by what it said of them, in the sources as they are now."""
    names = {change.say(): change for change in changes}
    alike = defaultdict(list)
    for change in changes:
        alike[change.name].append(change)
    found = []
    for text in told:
        if text in names:
            found.append(names[text])
            continue
        where, _, what = text.partition(": `")
        path, _, function = where.partition(" in ")
        path, _, line = path.rpartition(":")
        candidates = alike[f"{path}: {function}: `{what}"]
        if candidates:
            found.append(min(candidates, key=lambda each: abs(each.point.line - int(line))))
    return found
