"""kill -9 of the control plane at every named point of a step: the next one goes on, and nothing runs twice."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from control_to_kill import SETTINGS, run_and_die

from ampacity.control.daemon import Daemon
from ampacity.control.state_folder import StateFolder
from ampacity.control.step import POINTS
from ampacity.model.errors import StateFolderBusy
from ampacity.model.event import fold
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.model.workload import Wish, WorkloadPhase
from ampacity.store import open_store

LIMIT_S = 30.0
HITS = (1, 2, 4)
"""Of three control planes in a row each one comes further than the one before."""

FORKS = multiprocessing.get_context("forkserver")


def eventually(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT_S:g} s"
        time.sleep(0.02)


def marked(state: Path) -> list[int]:
    """Processes that carry the mark of a member of this state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            values = process.environ()
        except psutil.Error:
            continue
        if values.get("AMPACITY_MEMBER_DIR", "").startswith(str(state)):
            found.append(process.pid)
    return found


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    state, work = tmp_path / "state", tmp_path / "work"
    work.mkdir()
    yield state, work
    (work / "go").touch()
    for pid in marked(state):  # after a failed test alone
        psutil.Process(pid).kill()


def die(state: Path, work: Path, point: str, hit: int) -> int | None:
    FORKS.set_forkserver_preload(["ampacity.control.daemon", "ampacity.store.sqlite", "ampacity.drivers.local.driver"])
    process = FORKS.Process(target=run_and_die, args=(state, work, point, hit))
    process.start()
    process.join(LIMIT_S)
    return process.exitcode


@pytest.mark.parametrize("point", POINTS)
def test_whoever_is_killed_is_followed_by_one_that_goes_on(folders: tuple[Path, Path], point: str) -> None:
    state, work = folders
    assert die(state, work, point, HITS[0]) == -9
    for hit in HITS[1:]:
        assert die(state, work, point, hit) in (-9, 0)
    daemon = Daemon(StateFolder(state), SETTINGS)
    daemon.start()
    plane = daemon.plane

    def phase(name: str) -> WorkloadPhase:
        return plane.workload(name, project=DEFAULT_PROJECT).workload.phase

    try:
        eventually(lambda: (work / "stopped").exists(), "the start of the job that will be stopped")
        plane.set_desired("stopped", project=DEFAULT_PROJECT, by="test", wish=Wish.STOP)
        (work / "go").touch()
        names = ("once", "twice", "later", "lasting", "stopped")
        everyone = (*names, "refused")
        eventually(lambda: all(phase(name).ended for name in everyone), "the end of all jobs")
        assert {name: str(phase(name)) for name in everyone} == {
            "once": "succeeded",
            "twice": "succeeded",
            "later": "succeeded",
            "lasting": "succeeded",
            "stopped": "cancelled",
            "refused": "failed",
        }
    finally:
        daemon.stop()
    starts = {name: (work / name).read_text().split() for name in names}
    assert {name: len(lines) for name, lines in starts.items()} == {name: 1 + (name == "twice") for name in names}
    assert [line.rsplit(".", 1)[1] for line in starts["twice"]] == ["1", "2"]
    eventually(lambda: not marked(state), "the end of every process of the jobs")
    store = open_store(str(state / "store.db"))
    try:
        assert fold(store.events(limit=100_000), store.base()) == store.rows()
    finally:
        store.close()


def test_a_second_control_plane_on_one_folder_is_refused(tmp_path: Path) -> None:
    daemon = Daemon(StateFolder(tmp_path), SETTINGS)
    try:
        with pytest.raises(StateFolderBusy, match=str(os.getpid())):
            Daemon(StateFolder(tmp_path), SETTINGS)
    finally:
        daemon.stop()
    Daemon(StateFolder(tmp_path), SETTINGS).stop()
