"""The collector as a process: killed, doubled, left alone, with a probe that hangs or crashes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ampacity.observe.collector import Probes
from ampacity.observe.keeper import CollectorKeeper
from ampacity.observe.lock import holder, start_ticks
from ampacity.observe.places import LOCK, metrics_folder
from ampacity.observe.ring import NotARing, RingReader, Values

LIMIT_S = 30.0


def eventually(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT_S:g} s"
        time.sleep(0.02)


def last(path: str) -> Values | None:
    try:
        reader = RingReader(path)
    except (FileNotFoundError, NotARing):
        return None
    try:
        return reader.last()
    finally:
        reader.close()


def host(state: Path) -> Values | None:
    return last(f"{metrics_folder(state)}/host.ring")


def collector_pid(state: Path) -> int | None:
    return holder(f"{metrics_folder(state)}/{LOCK}")


@contextmanager
def kept(state: Path, *readers: str) -> Iterator[CollectorKeeper]:
    keeper = CollectorKeeper(str(state), readers=readers)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.close()


@contextmanager
def member(state: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in place of a supervisor, with its folder and its fact as the local driver leaves them."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    folder = state / "local" / "members" / f"{name}-0"
    folder.mkdir(parents=True)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    started = {"pid": process.pid, "pid_start": start_ticks(process.pid), "boot_id": boot_id, "child_pid": process.pid}
    key = {"attempt": name, "member": 0, "epoch": 1}
    (folder / "state.json").write_text(json.dumps({"format": 1, **started}))
    (folder / "member.json").write_text(json.dumps({"format": 1, **key, "env": {"AMPACITY_PROJECT": "p"}}))
    facts = state / "local" / "facts.jsonl"
    with facts.open("a") as file:
        file.write(json.dumps({"fact": "member_started", "key": key, "at": time.time()}, separators=(",", ":")) + "\n")
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        (folder / "exit.json").write_text("{}")
        with facts.open("a") as file:
            file.write(json.dumps({"fact": "member_exited", "key": key}, separators=(",", ":")) + "\n")


def test_a_killed_collector_is_started_again_and_goes_on_in_its_files(tmp_path: Path) -> None:
    with kept(tmp_path), member(tmp_path, "w1.0.1"):
        ring = f"{metrics_folder(tmp_path)}/member-w1.0.1-0.ring"
        eventually(lambda: last(ring) is not None, "a sample of the member")
        pid, before = collector_pid(tmp_path), last(ring)
        assert pid is not None
        assert before is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: collector_pid(tmp_path) not in (None, pid), "another collector")
        eventually(lambda: (last(ring) or before)[0] > before[0], "a sample of the other")
        now = last(ring)
        assert now is not None
        cpu = RingReader(ring).layout.index["cpu_s"]
        assert now[cpu] >= before[cpu]
    eventually(lambda: collector_pid(tmp_path) is None, "the end of the collector")


def test_a_later_collector_takes_over_from_an_earlier_one(tmp_path: Path) -> None:
    with kept(tmp_path) as first:
        eventually(lambda: host(tmp_path) is not None, "a sample")
        earlier = first.pid
        command = [sys.executable, "-m", "ampacity.observe.collector", "--state", str(tmp_path)]
        later = subprocess.Popen(command)
        try:
            eventually(lambda: collector_pid(tmp_path) not in (None, earlier), "the lock in other hands")
        finally:
            later.kill()
            later.wait()


def test_it_outlives_its_keeper_while_a_member_runs_and_ends_after_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from ampacity.observe.keeper import CollectorKeeper\n"
        "CollectorKeeper(sys.argv[1]).start(); time.sleep(600)"
    )
    with member(tmp_path, "w1.0.1"):
        control = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
        ring = f"{metrics_folder(tmp_path)}/member-w1.0.1-0.ring"
        eventually(lambda: last(ring) is not None, "a sample of the member")
        control.kill()
        control.wait()
        killed_at = time.time()
        eventually(lambda: (last(ring) or (0.0,))[0] > killed_at + 1, "a sample after the keeper's end")
    eventually(lambda: collector_pid(tmp_path) is None, "the end of the collector")
    assert os.listdir(f"{metrics_folder(tmp_path)}/ended") == ["member-w1.0.1-0.ring"]


READERS = """
import os, signal, time
from ampacity.observe.devices.base import DeviceIdentity, ReadFailed

class Reader:
    def __init__(self, how): self.how = how
    def devices(self): return [DeviceIdentity(index=0, vendor=self.how, kind="X")]
    def read(self, index):
        if self.how == "crashing": os.kill(os.getpid(), signal.SIGSEGV)
        if self.how == "hanging": time.sleep(1000)
        if self.how == "failing": raise ReadFailed("the driver says no")
        return {"utilisation_percent": 5.0}
    def processes(self, index): return {}
    def close(self): pass

def crashing(): return Reader("crashing")
def hanging(): return Reader("hanging")
def failing(): return Reader("failing")
def well(): return Reader("well")
"""


def test_probes_that_crash_hang_or_fail_take_only_their_own_values_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "readers_of_the_test.py").write_text(READERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    state = tmp_path / "state"
    names = ("crashing", "hanging", "failing", "well")
    with kept(state, *(f"readers_of_the_test:{name}" for name in names)) as keeper:
        folder = metrics_folder(state)
        eventually(lambda: last(f"{folder}/device-well-0.ring") is not None, "the device that is well")
        pid, since = keeper.pid, time.time()
        eventually(lambda: (host(state) or (0.0,))[0] > since + 1, "samples of the machine, meanwhile")
        eventually(lambda: (last(f"{folder}/device-well-0.ring") or (0.0,))[0] > since + 1, "and of the device")
        assert keeper.pid == pid
        for name in ("crashing", "hanging", "failing"):
            assert last(f"{folder}/device-{name}-0.ring") is None
        assert "the driver says no" in Path(folder, "collector.log").read_text()
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    eventually(lambda: not any(start_ticks(int(child)) for child in below), "the end of every probe")


def test_a_probe_that_hangs_is_killed_and_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "readers_of_the_test.py").write_text(READERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    probes = Probes(str(tmp_path), ("readers_of_the_test:hanging",), silent_s=0.3)
    seen: set[int] = set()

    def again() -> bool:
        probes.tend(time.monotonic())
        seen.update(pid for pid in probes.pids if pid is not None)
        return len(seen) > 1

    try:
        eventually(again, "another probe")
    finally:
        probes.close()
    assert not any(start_ticks(pid) for pid in seen)
