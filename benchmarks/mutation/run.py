"""Do the scheduler's tests notice when the scheduler is wrong? Small changes are made in it, one at a time.

python benchmarks/mutation/run.py [--quick] [--json FILE] [--seed N] [--only FOLDER] [--mutants N]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT / "tests")]

import numpy as np  # noqa: F401 - loaded once, before the forks
import pytest
from drawing import Change, drawn, found_again, possible, share_of_all
from reaching import OPTIONS, Reach, measure
from reporting import Figures, parser
from trying import ENDLESS, NOTICED, SURVIVED, UNREACHED, Trying, Verdicts, try_loading, use_profile

SCHEDULER = ROOT / "src" / "ampacity" / "scheduler"
COMPILED = "placing/compiled.py"
"""Its functions are asked as Python runs them: by Numba each change would have to be compiled anew."""

TESTS = (
    "unit/scheduler",
    "unit/simulator",
    "unit/control/test_control_queueing.py",
    "unit/control/test_control_giving_way.py",
    "property/test_placing_policies.py",
    *sorted(f"property/{path.name}" for path in (ROOT / "tests" / "property").glob("test_scheduler_*.py")),
)
OF_COMPILED = ("property/test_placing_policies.py",)
QUICK = ("unit/scheduler/test_scheduler_plan.py", "unit/scheduler/test_scheduler_preempting.py")


def in_a_fork(work: Callable[[], int], *, compiled: bool) -> None:
    """With a process of its own, which loads what it needs; what pytest prints is left out."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        if not compiled:
            os.environ["NUMBA_DISABLE_JIT"] = "1"
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        use_profile()
        os._exit(work())
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit("the tests do not pass as they are; nothing was tried")


def reach_of(folder: Path, tests: Sequence[str], *, compiled: bool) -> Reach:
    path = folder / f"reach-{'compiled' if compiled else 'plain'}.json"
    if not path.exists():
        in_a_fork(lambda: measure(SCHEDULER, tests, path), compiled=compiled)
    return Reach.read(path)


def try_all(changes: Sequence[Change], tests_of: Sequence[str], folder: Path, until: float) -> Verdicts:
    """Goes on where an earlier run with the same folder ended."""
    verdicts = Verdicts(folder / "verdicts.jsonl")
    for compiled, names in ((True, tests_of), (False, OF_COMPILED)):
        left = [each for each in changes if each.key not in verdicts.found and (each.path == COMPILED) is not compiled]
        if not left:
            continue
        tests = [str(ROOT / "tests" / name) for name in names]
        reach = reach_of(folder, tests, compiled=compiled)
        loading = [change for change in left if not change.point.function]
        inside = [change for change in left if change.point.function]
        trying = Trying(SCHEDULER, inside, reach, verdicts, until)
        options = [*OPTIONS, f"--rootdir={ROOT}", *tests]
        in_a_fork(lambda t=trying, o=options: int(pytest.main(o, plugins=[t])), compiled=compiled)  # type: ignore[misc]
        verdicts = Verdicts(folder / "verdicts.jsonl")
        for change in loading:
            if time.monotonic() > until:
                break
            verdicts.put(change, try_loading(SCHEDULER, change, reach, ROOT))
    return verdicts


def tell(figures: Figures, changes: Sequence[Change], verdicts: Verdicts) -> None:
    done = [(change, verdicts.found[change.key]) for change in changes if change.key in verdicts.found]
    counts = Counter(verdict for _, verdict in done)
    for change, verdict in sorted(done, key=lambda each: (each[0].path, each[0].point.line, each[0].key)):
        if verdict in (SURVIVED, UNREACHED):
            figures.note(f"{verdict}: {change.say()}")
    figures.add("mutants_drawn", len(changes))
    figures.add("mutants_tried", len(done))
    for verdict in (NOTICED, ENDLESS, SURVIVED, UNREACHED):
        figures.add(f"mutants_{verdict}", counts[verdict])
    for folder in (None, *sorted({change.folder for change, _ in done})):
        here = [verdict for change, verdict in done if folder in (None, change.folder)]
        name = {None: "", ".": "_top"}.get(folder, f"_{folder}")
        figures.add(f"tried{name}", len(here))
        figures.add(f"noticed_percent{name}", 100.0 * sum(each in (NOTICED, ENDLESS) for each in here) / len(here))


def tell_of_all(figures: Figures, found: Sequence[Change], changes: Sequence[Change], verdicts: Verdicts) -> None:
    """What a sample says of all changes that are possible. Not of those that were chosen because they had survived."""
    tried = [(each, verdicts.found[each.key] in (NOTICED, ENDLESS)) for each in changes if each.key in verdicts.found]
    if tried:
        share, error = share_of_all(found, tried)
        figures.add("noticed_percent_of_all", 100.0 * share)
        figures.add("noticed_percent_of_all_error", 100.0 * error)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--only", default="", help="a folder or file of the scheduler, such as preempting")
    options.add_argument("--mutants", type=int, default=300, help="so many are drawn, over all folders")
    options.add_argument("--again", type=Path, metavar="FILE", help="those that survived by an earlier result file")
    options.add_argument("--tests", help="files or folders below tests/, with commas; else all of the scheduler's")
    options.add_argument("--work", type=Path, metavar="FOLDER", help="keep there what was found, and go on from it")
    options.add_argument("--limit-s", type=float, default=float("inf"), help="end after so long")
    chosen = options.parse_args()
    until = time.monotonic() + (50.0 if chosen.quick else chosen.limit_s)
    figures = Figures("mutation")
    found = possible(SCHEDULER, chosen.only or ("preempting" if chosen.quick else ""))
    if not found:
        options.error(
            f"--only {chosen.only}: the scheduler has no folder or file of this name in which to change anything"
        )
    changes = drawn(found, 12 if chosen.quick else chosen.mutants, chosen.seed)
    if chosen.again is not None:
        notes = json.loads(chosen.again.read_text())["notes"]
        told = [note.partition(": ") for note in notes]
        changes = found_again(found, [what for verdict, _, what in told if verdict in (SURVIVED, UNREACHED)])
    figures.add("mutants_possible", len(found))
    with tempfile.TemporaryDirectory() as own:
        folder = chosen.work or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        tests = chosen.tests.split(",") if chosen.tests else QUICK if chosen.quick else TESTS
        verdicts = try_all(changes, tests, folder, until)
        tell(figures, changes, verdicts)
        if chosen.again is None:
            tell_of_all(figures, found, changes, verdicts)
    figures.write(chosen.json)


if __name__ == "__main__":
    main()
