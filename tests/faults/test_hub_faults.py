"""Killed while it adds, at any time: there is a whole version or none, and what was left behind is cleared away."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ampacity.hub import Hub

ADDER = """
import sys
from pathlib import Path
from ampacity.hub import Hub
hub = Hub(Path(sys.argv[1]))
print("go", flush=True)
hub.add("m", Path(sys.argv[2]), created_at=1.0)
print("done", flush=True)
"""


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_during_add_leaves_a_whole_version_or_none(tmp_path: Path, seed: int) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(8):
        (source / f"part-{number}").write_bytes(random.Random(number).randbytes(400_000))
    command = [sys.executable, "-c", ADDER, str(tmp_path / "hub"), str(source)]
    adder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert adder.stdout is not None
    assert adder.stdout.readline() == "go\n"
    time.sleep(random.Random(seed).uniform(0.0, 0.03))
    adder.send_signal(signal.SIGKILL)
    finished = "done" in adder.stdout.read()
    adder.wait()
    hub = Hub(tmp_path / "hub")
    assert list((tmp_path / "hub" / "blobs" / "incoming").iterdir()) == []
    if hub.list():
        assert hub.verify("m").size_bytes == 3_200_000
    else:
        assert not finished
    assert hub.add("m", source, created_at=2.0).version == 1
    assert len(hub.verify("m").files) == 8


def test_a_file_that_changes_while_it_is_copied_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ampacity.hub import blobs
    from ampacity.model.errors import HubError

    source = tmp_path / "file"
    source.write_bytes(b"1" * 100)
    copy = blobs._copy

    def copy_then_change(from_: Path, to: Path) -> tuple[str, int]:
        result = copy(from_, to)
        source.write_bytes(b"2" * 101)
        return result

    monkeypatch.setattr(blobs, "_copy", copy_then_change)
    with pytest.raises(HubError, match="changed while it was copied"):
        Hub(tmp_path / "hub").add("m", source, created_at=1.0)
    assert Hub(tmp_path / "hub").list() == ()


def test_a_disk_that_is_full_gets_back_what_was_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ampacity.hub import blobs
    from ampacity.model.errors import HubError

    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    hub = Hub(tmp_path / "hub")
    kept = hub.add("kept", source / "a", created_at=1.0)
    copy = blobs._copy

    def copy_until_full(from_: Path, to: Path) -> tuple[str, int]:
        if from_.name == "c":
            to.write_text("ha")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return copy(from_, to)

    monkeypatch.setattr(blobs, "_copy", copy_until_full)
    with pytest.raises(HubError, match=r"source/c cannot be copied into the hub: No space left on device"):
        hub.add("m", source, created_at=1.0)
    files = [path for path in (tmp_path / "hub" / "blobs").rglob("*") if path.is_file()]
    assert [f"sha256:{path.name}" for path in files] == [kept.files[0].digest]
    assert [version.ref for version in hub.list()] == ["kept:1"]


def test_blobs_of_an_add_that_was_killed_go_when_the_hub_is_opened(tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub")
    source = tmp_path / "file"
    source.write_text("x")
    hub.add("m", source, created_at=1.0)
    orphan = tmp_path / "hub" / "blobs" / "sha256" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_text("nobody's")
    Hub(tmp_path / "hub").verify("m")
    assert not orphan.exists()
