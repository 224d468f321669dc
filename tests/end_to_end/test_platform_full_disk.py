"""A state folder whose disk runs full and gets room again: what cannot be written is refused, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampacity.model.event import fold
from ampacity.model.workload import WorkloadPhase
from ampacity.store import open_store
from whole_platform import Platform, eventually, platform_in

LIMIT_S = 120.0
COUNTING = "echo started >> {starts}; while [ ! -e {go} ]; do sleep 0.05; done"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Platform]:
    """A platform on a disk of 24 MB."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        with platform_in(disk) as found:
            yield found
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that is left."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    return path


def test_a_full_disk_refuses_what_is_new_and_loses_nothing(small: Platform, tmp_path: Path) -> None:
    small.up("n1:cpus=2,memory=2GB")
    starts, go = tmp_path / "starts", tmp_path / "go"
    command = COUNTING.format(starts=starts, go=go)
    assert small.ampacity("run", "--name", "a", "--cpus", "2", "--detach", "--", "sh", "-c", command).code == 0
    assert small.ampacity("run", "--name", "waits", "--cpus", "2", "--detach", "--", "sh", "-c", command).code == 0
    eventually(starts.exists, "the job's start", limit_s=LIMIT_S)
    filler = fill(small.state_dir.parent)
    refused = small.ampacity("run", "--name", "new", "--detach", "--", "true")
    assert refused.code == 1
    assert "Nothing was written." in refused.err
    assert "disk" in refused.err
    go.touch()
    eventually(lambda: not small.marked(AMPACITY_WORKLOAD_NAME="a"), "the job's end on a full disk", limit_s=LIMIT_S)
    assert small.client.workload("a").workload.phase is WorkloadPhase.RUNNING  # its end cannot be recorded yet
    filler.unlink()
    for name in ("a", "waits"):
        assert small.client.wait(name, timeout_s=LIMIT_S).workload.phase is WorkloadPhase.SUCCEEDED
    assert starts.read_text() == "started\n" * 2
    again = small.ampacity("run", "--name", "new", "--detach", "--", "true")
    assert again.code == 0, again.err
    assert small.client.wait("new", timeout_s=LIMIT_S).workload.phase is WorkloadPhase.SUCCEEDED
    assert small.ampacity("down").code == 0
    store = open_store(str(small.state_dir / "store.db"))
    assert fold(store.events(limit=1_000_000), store.base()) == store.rows()
    store.close()
