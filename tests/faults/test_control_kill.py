"""kill -9 of the control plane at every named point: the next one goes on, and nothing runs twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from control_to_kill import SETTINGS
from kill_bench import die, go_on_and_check, marked
from kill_points import DRIVER_POINTS, STORE_POINTS

from ampacity.control.daemon import Daemon
from ampacity.control.state_folder import StateFolder
from ampacity.control.step import POINTS
from ampacity.model.errors import StateFolderBusy

HITS = (1, 2, 4)
"""Of three control planes in a row each one comes further than the one before."""


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    state, work = tmp_path / "state", tmp_path / "work"
    work.mkdir()
    yield state, work
    (work / "go").touch()
    for pid in marked(state):  # after a failed test alone
        psutil.Process(pid).kill()


@pytest.mark.parametrize("point", POINTS + DRIVER_POINTS + STORE_POINTS)
def test_whoever_is_killed_is_followed_by_one_that_goes_on(folders: tuple[Path, Path], point: str) -> None:
    state, work = folders
    assert die(state, work, point, HITS[0]) == -9
    for hit in HITS[1:]:
        assert die(state, work, point, hit) in (-9, 0)
    go_on_and_check(state, work)


def test_a_second_control_plane_on_one_folder_is_refused(tmp_path: Path) -> None:
    daemon = Daemon(StateFolder(tmp_path), SETTINGS)
    try:
        with pytest.raises(StateFolderBusy, match=str(os.getpid())):
            Daemon(StateFolder(tmp_path), SETTINGS)
    finally:
        daemon.stop()
    Daemon(StateFolder(tmp_path), SETTINGS).stop()
