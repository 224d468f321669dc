"""Which tests run which lines of the scheduler, and how long each of them takes."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

OPTIONS = ("-q", "-p", "no:cacheprovider", "-o", "timeout=0", "--no-header", "--tb=no", "-W", "ignore")


@dataclass(frozen=True, slots=True)
class Reach:
    """``lines``: for each file below the scheduler's folder and each line, the tests that run it, by their numbers."""

    tests: list[str]
    durations_s: list[float]
    lines: dict[str, dict[int, list[int]]]

    def of(self, path: str, lines: tuple[int, int] | None) -> list[str]:
        """The tests to ask about these lines, from the first to the last, the shortest test first. ``None``: they run
        when the module is loaded, so all that run anything of it are asked, and all there are where nobody does."""
        reached = self.lines.get(path, {})
        first, last = (0, max(reached, default=0)) if lines is None else lines
        numbers = {each for line, found in reached.items() if first <= line <= last for each in found}
        if lines is None and not numbers:
            numbers = set(range(len(self.tests)))
        return [self.tests[each] for each in sorted(numbers, key=lambda each: (self.durations_s[each], each))]

    def duration_s(self, test: str) -> float:
        return self.durations_s[self.tests.index(test)]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"tests": self.tests, "durations_s": self.durations_s, "lines": self.lines}))

    @staticmethod
    def read(path: Path) -> Reach:
        held = json.loads(path.read_text())
        lines = {file: {int(line): found for line, found in of.items()} for file, of in held["lines"].items()}
        return Reach(held["tests"], held["durations_s"], lines)


class _Contexts:
    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured = measured
        self.tests: list[str] = []
        self.durations_s: list[float] = []

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.measured.switch_context(item.nodeid)
        began = time.monotonic()
        yield
        self.tests.append(item.nodeid)
        self.durations_s.append(round(time.monotonic() - began, 4))
        self.measured.switch_context("")


def measure(scheduler: Path, tests: Sequence[str], path: Path) -> int:
    """Run the tests once and write down who reaches what. pytest's status."""
    measured = coverage.Coverage(data_file=None, include=[f"{scheduler}/*"], config_file=False)
    contexts = _Contexts(measured)
    measured.start()
    status = int(pytest.main([*OPTIONS, *tests], plugins=[contexts]))
    measured.stop()
    data, numbers = measured.get_data(), {test: number for number, test in enumerate(contexts.tests)}
    lines: dict[str, dict[int, list[int]]] = defaultdict(dict)
    for file in data.measured_files():
        for line, found in data.contexts_by_lineno(file).items():
            if reached := sorted(numbers[each] for each in found if each):
                lines[str(Path(file).relative_to(scheduler))][line] = reached
    Reach(contexts.tests, contexts.durations_s, dict(lines)).write(path)
    return status
