"""Disks that run full: who filled it is ended and told so, and nobody else's end is lost."""

from __future__ import annotations

import subprocess

import pytest
from driver_bench import Bench, key_of, wait_until

from ampacity.drivers.base import Limits
from ampacity.model.attempt import CauseKind

FILL = "cat /dev/zero > {member_dir}/work/big 2>/dev/null; echo full; exec sleep 1000"

BIG = Limits(disk_bytes=1 << 30)


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 8 MB."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    yield small
    subprocess.run(["umount", "-l", str(small)], check=True)


def test_who_takes_more_disk_than_it_asked_for_is_ended_and_told_so(bench):
    script = "head -c 3000000 /dev/zero > big; echo written; exec sleep 1000"
    key = bench.start("sh", "-c", script, limits=Limits(disk_bytes=2_000_000))
    modest = bench.start("sh", "-c", script, limits=Limits(disk_bytes=8_000_000), member=1)
    cause = bench.exit_of(key)
    assert cause.kind is CauseKind.DISK_QUOTA
    assert "more than its limit of 2 MB" in cause.message
    assert "resources.disk" in cause.message
    assert not bench.exits(modest)


def test_a_log_is_bounded_and_its_member_runs_on(bench):
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end"
    key = bench.start("sh", "-c", script, limits=Limits(log_bytes=200_000))
    assert bench.exit_of(key).completed
    assert (bench.dir(key) / "output.log").stat().st_blocks * 512 < 300_000
    page = bench.driver.logs(key, None, limit=100_000)
    assert [line.text for line in page.lines if line.stream == "out"][-1] == "end"
    assert page.ended
    assert any(line.stream == "sys" and "were dropped" in line.text for line in page.lines)


def test_who_fills_a_disk_is_ended_and_its_neighbours_ends_are_told(small_disk):
    bench = Bench(small_disk / "local")
    try:
        wait = "mkfifo {member_dir}/fifo; echo up; read line < {member_dir}/fifo"
        neighbour = bench.start("sh", "-c", wait, member=1)
        bench.wait_text(neighbour, "up")
        key = bench.start("sh", "-c", FILL, setup="mkdir -p $AMPACITY_MEMBER_DIR/work", workdir="/", limits=BIG)
        wait_until(lambda: (bench.dir(key) / "exit.json").exists(), "the end of who filled it")
        cause = bench.exit_of(key)
        assert cause.kind is CauseKind.DISK_FULL
        assert f"the disk under {bench.dir(key)} is full" in cause.message
        with open(bench.dir(neighbour) / "fifo", "w") as fifo:
            fifo.write("go\n")
        assert bench.exit_of(neighbour).completed
        bench.reopen()
        assert bench.exit_of(neighbour).completed
        for big in small_disk.rglob("big"):
            big.unlink()
    finally:
        bench.clean_up()


def test_who_fails_on_a_full_disk_is_told_that_it_was_full(small_disk, bench):
    subprocess.run(["sh", "-c", f"cat /dev/zero > {small_disk}/big"], capture_output=True, check=False)
    key = bench.start("sh", "-c", "echo result > result || exit 7", workdir=str(small_disk))
    cause = bench.exit_of(key)
    assert (cause.kind, cause.exit_code) == (CauseKind.DISK_FULL, 7)
    assert f"the disk under {small_disk} is full (8.39 MB)" in cause.message
    assert key == key_of()
