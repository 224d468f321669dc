"""``ampacity cp`` on the whole platform: to a job and back, whole, resumed, and never out of its folders."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ampacity.client.files import Copied
from ampacity.model.errors import Conflict, Forbidden
from whole_platform import Platform, eventually

JOB = """name: job
run: |
  mkdir -p out/deep; echo result > out/deep/result.txt; head -c 20000000 /dev/urandom > out/big
  ln -s big out/link; ln -s /etc/passwd out/escape; chmod 750 out/deep/result.txt; echo made
  while [ ! -e go ]; do sleep 0.05; done; cat note.txt
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_results_come_and_go(platform: Platform, tmp_path: Path) -> None:
    platform.up("n1:cpus=2,memory=2GB")
    platform.client.submit(JOB)
    eventually(lambda: "made" in platform.ampacity("logs", "job").out, "the job's files")
    copied = platform.ampacity("cp", "job:out", "copy")
    assert copied.code == 0, copied.err
    assert "passed over" in copied.err
    copy = platform.work / "copy"
    assert (copy / "deep" / "result.txt").read_text() == "result\n"
    assert (copy / "deep" / "result.txt").stat().st_mode & 0o777 == 0o750
    assert (copy / "big").stat().st_size == 20_000_000
    assert sorted(os.listdir(copy)) == ["big", "deep"]
    (platform.work / "note.txt").write_text("a note from outside\n")
    assert platform.json("cp", "./copy", "job:back/")["files"] == 2
    assert platform.ampacity("cp", "job:back/copy/big", "./again").code == 0
    assert digest(platform.work / "again") == digest(copy / "big")
    for name in ("note.txt", "again"):
        assert platform.ampacity("cp", name, f"job:{'go' if name == 'again' else name}").code == 0
    platform.client.wait("job", timeout_s=120)
    assert "a note from outside" in platform.ampacity("logs", "job").out
    assert platform.ampacity("cp", "job:{member_dir}/output.log", "./").code == 0
    assert "a note" in (platform.work / "output.log").read_text()
    for path in ("out/escape", "../../../../token", "/etc/passwd", "{member_dir}/../../../token"):
        with pytest.raises(Forbidden):
            platform.client.files("job").get(path, tmp_path / "stolen")
    refused = platform.ampacity("cp", "a", "b")
    assert (refused.code, "NAME:PATH" in refused.err) == (2, True)


def test_a_copy_goes_on_where_it_was(platform: Platform, tmp_path: Path) -> None:
    platform.up("n1:cpus=2,memory=2GB")
    made = platform.work / "made"
    made.mkdir()
    (made / "big").write_bytes(os.urandom(9_000_000))
    platform.client.submit(f"name: job\nworkdir: {made}\nrun: 'true'\n")
    platform.client.wait("job", timeout_s=120)
    files = platform.client.files("job")
    version = files.entry("big").version
    target = tmp_path / "big"

    class Enough(Exception):
        pass

    def stop_early(count: int) -> None:
        if partial.exists() and partial.stat().st_size > 2_000_000:
            raise Enough

    partial = tmp_path / f".big.{version}.part"
    with pytest.raises(Enough):
        files.get("big", target, told=stop_early)
    began = partial.stat().st_size
    assert 0 < began < 9_000_000
    came: list[int] = []
    assert files.get("big", target, told=came.append) == Copied(files=1, size_bytes=9_000_000)
    assert came[0] == began
    assert digest(target) == digest(made / "big")
    assert not partial.exists()

    def change(count: int) -> None:
        (made / "big").write_bytes(b"another")

    with pytest.raises(Conflict, match="has changed"):
        files.get("big", target, told=change)
    assert digest(target) != digest(made / "big")
    platform.client.close()
