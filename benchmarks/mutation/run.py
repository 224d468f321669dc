"""Do the scheduler's tests notice when the scheduler is wrong? Small changes are made in it, one at a time.

python benchmarks/mutation/run.py [--quick] [--json FILE] [--seed N] [--only FOLDER] [--mutants N]
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT / "tests")]

import hypothesis  # noqa: F401 - loaded once, before the forks
import numpy as np  # noqa: F401
import pytest
from mutants import Mutant, mutant, points
from reporting import Figures, parser

SCHEDULER = ROOT / "src" / "ampacity" / "scheduler"
PATIENCE_S = 120.0
TESTS = {
    "preempting": ("unit/scheduler/test_scheduler_preempting.py", "property/test_scheduler_preemption.py"),
    "queues": ("unit/scheduler/test_scheduler_queue_rules.py", "unit/scheduler"),
    "": ("unit/scheduler", "property/test_scheduler_explanations.py", "property/test_scheduler_preemption.py"),
}
"""Which tests are asked, by the folder of the module that is changed."""


class Changed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Hands out the changed source of one module."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._source = name, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def get_source(self, fullname: str) -> str:
        return self._source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, f"<changed {fullname}>", "exec")


def notices(name: str, changed: Mutant, tests: Sequence[str]) -> str:
    """``noticed``, ``survived`` or ``endless``. In a process of its own."""
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        sys.meta_path.insert(0, Changed(name, changed.source))
        options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--hypothesis-seed=0"]
        os._exit(int(pytest.main([*options, *(str(ROOT / "tests" / each) for each in tests)])))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "survived" if os.waitstatus_to_exitcode(status) == 0 else "noticed"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "endless"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", default="", help="a folder of the scheduler, such as preempting")
    options.add_argument("--mutants", type=int, default=200, help="so many are drawn")
    chosen = options.parse_args()
    figures = Figures("mutation")
    folder = SCHEDULER / chosen.only
    found = [(path, point) for path in sorted(folder.rglob("*.py")) for point in points(path.read_text())]
    drawn = random.Random(chosen.seed).sample(found, min(len(found), 6 if chosen.quick else chosen.mutants))
    counts = {"noticed": 0, "survived": 0, "endless": 0}
    for path, point in sorted(drawn):
        changed = mutant(path.read_text(), *point)
        inside = path.relative_to(SCHEDULER)
        name = "ampacity.scheduler." + ".".join(inside.with_suffix("").parts)
        tests = TESTS.get(inside.parts[0] if len(inside.parts) > 1 else "", TESTS[""])
        verdict = notices(name.removesuffix(".__init__"), changed, tests)
        counts[verdict] += 1
        if verdict == "survived":
            figures.note(f"survived: {inside}:{changed.line}: `{changed.before}` as `{changed.after}`")
    figures.add("mutants_possible", len(found))
    for verdict, count in counts.items():
        figures.add(f"mutants_{verdict}", count)
    figures.add("noticed_percent", 100.0 * (len(drawn) - counts["survived"]) / max(1, len(drawn)))
    figures.write(chosen.json)


if __name__ == "__main__":
    main()
