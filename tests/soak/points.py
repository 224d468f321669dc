"""A control plane is killed at every point, at its first pass, its second, and so on; each time another one goes on.

    python tests/soak/points.py --hits 12

``make test`` takes a few of these; this takes all. Exit code 1: one of them went wrong, and its folder is kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))

from kill_bench import die, go_on_and_check
from kill_points import DRIVER_POINTS, STORE_POINTS

from ampacity.control.step import POINTS

EVERY_POINT = POINTS + DRIVER_POINTS + STORE_POINTS


def killed_once(point: str, hit: int) -> bool | None:
    """``None``: nothing came there so often. Else whether all was well afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ampacity-points-"))
    state, work = folder / "state", folder / "work"
    work.mkdir()
    killed = die(state, work, point, hit) == -9
    try:
        go_on_and_check(state, work)
    except AssertionError as error:
        print(f"VIOLATION: {point}, pass {hit}: {error}; kept: {folder}", flush=True)
        return False
    shutil.rmtree(folder)
    return True if killed else None


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill a control plane at every point, at each of its passes.")
    parser.add_argument("--hits", type=int, default=12, help="up to which pass")
    parser.add_argument("--points", nargs="*", default=EVERY_POINT, choices=EVERY_POINT)
    options = parser.parse_args()
    wrong = 0
    for point in options.points:
        survived = 0
        for hit in range(1, options.hits + 1):
            well = killed_once(point, hit)
            if well is None:
                break
            survived += well
            wrong += not well
        print(f"{survived:4} kills survived at {point}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
