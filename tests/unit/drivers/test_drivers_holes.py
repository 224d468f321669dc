"""Logs that drop their oldest part, readers that go on after it, and space taken beforehand."""

from __future__ import annotations

import os
import subprocess
from itertools import repeat
from pathlib import Path

import pytest

from ampacity.drivers.local.facts_file import FactsFile
from ampacity.drivers.local.log_lines import read_log
from ampacity.drivers.supervisor import holes
from ampacity.drivers.supervisor.output import Log
from ampacity.drivers.supervisor.usage import disk_bytes
from ampacity.model.attempt import MemberPreparing
from ampacity.model.ids import AttemptId, MemberKey

KEY = MemberKey(attempt=AttemptId("w1.0.1"), member=0, epoch=1)
MAX_BYTES = 1 << 20


def fill(log: Log, first: int, last: int) -> None:
    for number in range(first, last):
        log.write("out", [b"%06d " % number + b"x" * 93])


def all_lines(path: Path, cursor: str | None = None) -> list[str]:
    texts: list[str] = []
    while True:
        page = read_log(str(path), cursor, limit=5000, ended=True)
        texts.extend(line.text for line in page.lines)
        cursor = page.cursor
        if page.ended:
            return texts


def cannot_punch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holes, "_fallocate", lambda *_: -1)
    monkeypatch.setattr(holes, "_errno", lambda: 95)


@pytest.mark.parametrize("punches", [True, False])
def test_a_long_log_keeps_its_newest_part_and_says_so(tmp_path, monkeypatch, punches):
    if not punches:
        cannot_punch(monkeypatch)
    path = tmp_path / "output.log"
    log = Log(str(path), max_bytes=MAX_BYTES)
    fill(log, 0, 30_000)
    assert path.stat().st_blocks * 512 <= MAX_BYTES * 1.2
    texts = all_lines(path)
    numbers = [int(text[:6]) for text in texts if "x" in text]
    assert numbers[-1] == 29_999
    assert numbers == list(range(numbers[0], 30_000))
    assert len(numbers) > (4000 if punches else 500)
    assert [text for text in texts if "x" not in text][-1].endswith("of it were dropped")
    assert log.lost_lines == 0
    assert log.last_lines(1) == [texts[-1][:300]]


@pytest.mark.parametrize("punches", [True, False])
def test_a_reader_with_an_old_cursor_goes_on_at_the_oldest_there_is(tmp_path, monkeypatch, punches):
    if not punches:
        cannot_punch(monkeypatch)
    path = tmp_path / "output.log"
    log = Log(str(path), max_bytes=MAX_BYTES)
    fill(log, 0, 10)
    old = read_log(str(path), None, limit=5, ended=False)
    assert [line.text[:6] for line in old.lines] == [f"{number:06d}" for number in range(5)]
    fill(log, 10, 20_000)
    page = read_log(str(path), old.cursor, limit=1000, ended=False)
    first = next(int(line.text[:6]) for line in page.lines if "x" in line.text)
    assert first > 1000
    assert all(line.at > 0 and "\0" not in line.text for line in page.lines)
    newest = read_log(str(path), str(path.stat().st_size), limit=5, ended=True)
    assert (newest.lines, newest.ended) == ((), True)


def test_another_writer_of_the_same_file_needs_to_know_nothing(tmp_path):
    path = tmp_path / "output.log"
    log = Log(str(path), max_bytes=MAX_BYTES)
    with open(path, "ab", buffering=0) as agent:
        for number in range(20_000):
            agent.write(b"1.000000 0 out %06d " % number + b"x" * 93 + b"\n")
            if number % 1000 == 0:
                log.trim()
        log.trim()
    assert path.stat().st_blocks * 512 <= MAX_BYTES * 1.2
    assert [int(text[:6]) for text in all_lines(path) if "x" in text][-1] == 19_999


def test_a_log_below_its_size_is_left_alone(tmp_path):
    path = tmp_path / "output.log"
    log = Log(str(path))
    fill(log, 0, 100)
    log.trim()
    assert [int(text[:6]) for text in all_lines(path)] == list(range(100))


def test_space_for_facts_is_taken_beforehand_and_is_no_part_of_the_file(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        file = FactsFile(str(small / "facts.jsonl"))
        assert file.page(None, 10).facts == ()
        assert (small / "facts.jsonl").stat().st_size == 0
        with open(small / "big", "wb", buffering=0) as big, pytest.raises(OSError, match="space"):
            big.writelines(repeat(bytes(4096)))
        for at in range(500):
            file.append(MemberPreparing(key=KEY, at=float(at)))
        assert len(file.page(None, 1000).facts) == 500
        file.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_what_a_folder_takes_on_disk(tmp_path):
    folder = tmp_path / "member"
    (folder / "below").mkdir(parents=True)
    empty = disk_bytes(str(folder))
    (folder / "below" / "data").write_bytes(os.urandom(1 << 20))
    with_data = disk_bytes(str(folder))
    assert 1 << 20 <= with_data - empty <= (1 << 20) + 65_536
    os.link(folder / "below" / "data", folder / "again")
    (folder / "link").symlink_to("/")
    with open(folder / "sparse", "wb") as sparse:
        sparse.truncate(1 << 30)
    assert disk_bytes(str(folder)) - with_data < 65_536
    assert disk_bytes(str(tmp_path / "absent")) == 0
