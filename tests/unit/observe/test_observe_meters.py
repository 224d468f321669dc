"""What members use: energy by shares, counters that never fall, processes by parents, ranks by environment."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from ampacity.observe.columns import DEVICE, HOST
from ampacity.observe.device_rings import DeviceRings
from ampacity.observe.host import HostSampler
from ampacity.observe.lock import start_ticks
from ampacity.observe.measured import MetricsFolder
from ampacity.observe.members import DeviceUse, MemberFeed, RunningMember
from ampacity.observe.meters import Counter, HostUse, MemberMeter
from ampacity.observe.places import ENDED, device_ring, metrics_folder
from ampacity.observe.processes import NO_RANK, ProcessTable
from ampacity.observe.rapl import PackageEnergy
from ampacity.observe.retention import drop_old, put_aside, put_aside_all_but
from ampacity.observe.ring import Layout, RingWriter

LABELS = {"workload": "w1", "name": "job", "project": "p", "attempt": "w1.0.1", "member": "0", "epoch": "1"}
IDLE = HostUse(cpu_s=0.0, energy_j=math.nan)


class Device:
    """One device's file, written as a probe does."""

    def __init__(self, folder: Path, index: int, uuid: str = "") -> None:
        labels = {"vendor": "nvidia", "index": str(index), "kind": "X", "uuid": uuid or f"U{index}", "bus": ""}
        self._ring = RingWriter(str(folder / device_ring("nvidia", index)), Layout("device", DEVICE, labels))

    def write(self, at: float, **values: float) -> None:
        self._ring.append(at, [values.get(column.name, math.nan) for column in DEVICE])


def member(*devices: tuple[str, float], supervisor: int = 0, ranks: int = 0) -> RunningMember:
    uses = tuple(DeviceUse(device=name, share=share) for name, share in devices)
    return RunningMember(
        name="w1.0.1-0", supervisor=supervisor or os.getpid(), ranks=ranks, devices=uses, labels=LABELS
    )


def totals(folder: Path) -> Mapping[str, float]:
    (series,) = MetricsFolder(folder.parent).totals(["w1.0.1"])
    return series.values


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = Path(metrics_folder(tmp_path))
    made.mkdir()
    return made


def test_energy_is_shared_by_what_was_given_of_each_device(folder: Path) -> None:
    whole, half = Device(folder, 0), Device(folder, 1)
    rings = DeviceRings(str(folder))
    whole.write(1000.0, energy_j=5000.0, utilisation_percent=100.0, power_w=400.0)
    half.write(1000.0, energy_j=100.0, utilisation_percent=40.0, power_w=200.0)
    rings.look(1000.0)
    meter = MemberMeter(member(("n1/0", 1.0), ("n1/1", 0.5)), str(folder), rings)
    meter.sample(1000.0, [], IDLE, rings, io=True)
    whole.write(1001.0, energy_j=5400.0, utilisation_percent=100.0, power_w=400.0)
    half.write(1001.0, energy_j=300.0, utilisation_percent=40.0, power_w=200.0)
    rings.look(1001.0)
    meter.sample(1001.0, [], IDLE, rings, io=True)
    found = totals(folder)
    assert found["device_energy_j"] == found["energy_j"] == 500.0
    assert found["device_utilisation_percent"] == 80.0
    assert found["device_power_w"] == 500.0
    assert "host_energy_j" not in found  # it is not known, which is not the same as none


def test_energy_goes_on_over_a_restart_of_the_collector_and_counts_what_was_used_meanwhile(folder: Path) -> None:
    device, rings = Device(folder, 0), DeviceRings(str(folder))
    for second, energy_j in ((1000.0, 1000.0), (1001.0, 1400.0)):
        device.write(second, energy_j=energy_j)
    rings.look(1000.0)
    first = MemberMeter(member(("n1/0", 1.0)), str(folder), rings)
    for second in (1000.0, 1001.0):
        rings.look(second)
        first.sample(second, [], IDLE, rings, io=True)
    device.write(1004.0, energy_j=2600.0)
    rings.look(1004.0)
    second_meter = MemberMeter(member(("n1/0", 1.0)), str(folder), rings)
    second_meter.sample(1004.0, [], IDLE, rings, io=True)
    assert totals(folder)["device_energy_j"] == 1600.0


def test_a_devices_counter_that_begins_anew_takes_nothing_away(folder: Path) -> None:
    device, rings = Device(folder, 0), DeviceRings(str(folder))
    device.write(1000.0, energy_j=9000.0)
    rings.look(1000.0)
    meter = MemberMeter(member(("n1/0", 1.0)), str(folder), rings)
    for second, energy_j in ((1001.0, 9100.0), (1002.0, 10.0), (1003.0, 30.0)):
        device.write(second, energy_j=energy_j)
        rings.look(second)
        meter.sample(second, [], IDLE, rings, io=True)
    assert totals(folder)["device_energy_j"] == 120.0


def test_a_device_is_followed_by_its_name_when_the_others_are_counted_anew(folder: Path) -> None:
    devices, rings = [Device(folder, index) for index in range(3)], DeviceRings(str(folder))
    for device, energy_j in zip(devices, (1.0, 2.0, 1000.0), strict=True):
        device.write(1000.0, energy_j=energy_j)
    rings.look(1000.0)
    meter = MemberMeter(member(("U2", 1.0)), str(folder), rings)
    moved = Device(folder, 1, "U2")  # the one in the middle is lost
    for second, energy_j in ((1001.0, 1200.0), (1002.0, 1500.0)):
        devices[0].write(second, energy_j=50_000.0)
        moved.write(second, energy_j=energy_j)
        rings.look(second)
        meter.sample(second, [], IDLE, rings, io=True)
    assert totals(folder)["device_energy_j"] == 500.0


def test_energy_of_a_device_that_tells_none_is_not_known_rather_than_nothing(folder: Path) -> None:
    part, rings = Device(folder, 0, "MIG-a"), DeviceRings(str(folder))
    rings.look(1000.0)
    meter = MemberMeter(member(("MIG-a", 1.0)), str(folder), rings)
    for second in (1000.0, 1001.0):
        part.write(second, memory_used_bytes=5.0)
        rings.look(second)
        meter.sample(second, [], IDLE, rings, io=True)
    assert not {"device_energy_j", "energy_j"} & totals(folder).keys()


def test_a_counter_never_falls() -> None:
    counter = Counter(100.0)
    assert [counter.follow(total) for total in (30.0, 40.0, 5.0, 6.0, 200.0)] == [0.0, 10.0, 0.0, 1.0, 194.0]
    assert counter.value == 305.0


def test_the_cpus_energy_is_shared_by_cpu_time(folder: Path) -> None:
    rings = DeviceRings(str(folder))
    rings.look(1000.0)
    meter = MemberMeter(member(), str(folder), rings)
    table = ProcessTable()
    with running("while True: pass") as process:
        table.add("w1.0.1-0", process.pid, ranked=False)
        table.look()
        processes = table.of_member["w1.0.1-0"].values()
        meter.sample(1000.0, processes, IDLE, rings, io=True)
        eventually(lambda: cpu_s(process.pid) > 0.3, "some CPU time")
        meter.sample(1001.0, processes, HostUse(cpu_s=1e-9, energy_j=50.0), rings, io=True)
    assert totals(folder)["host_energy_j"] == 50.0  # at most all of it


def test_packages_counters_wrap_around(tmp_path: Path) -> None:
    for zone, value in (("intel-rapl:0", "900"), ("intel-rapl:0:0", "5"), ("intel-rapl:1", "0")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(value)
        (tmp_path / zone / "max_energy_range_uj").write_text("1000")
    energy = PackageEnergy(begin_at_j=7.0, root=str(tmp_path))
    assert energy.sample(10.0)[0] == 7.0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("100")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("300")
    energy_j, power_w = energy.sample(12.0)
    assert energy_j == pytest.approx(7.0 + 500e-6)
    assert power_w == pytest.approx(250e-6)
    assert all(math.isnan(value) for value in PackageEnergy(root=str(tmp_path / "none")).sample(1.0))


def test_this_machine_is_sampled() -> None:
    sampler = HostSampler()
    names = [column.name for column in HOST]
    first = dict(zip(names, sampler.sample(), strict=True))
    eventually(lambda: dict(zip(names, sampler.sample(), strict=True))["cpu_s"] > first["cpu_s"], "CPU time")
    assert first["memory_total_bytes"] > first["memory_available_bytes"] > 0
    assert first["cpus"] == os.cpu_count()
    assert first["collector_cpu_s"] > 0


# Processes -----------------------------------------------------------------------------------------------------------


@contextmanager
def running(code: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environment}, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def eventually(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


RANKS = """
import os, subprocess, sys
ranks = [subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE,
                          env={**os.environ, "RANK": str(4 + n)}) for n in range(2)]
sys.stdin.read()
"""


def test_processes_are_found_by_their_parents_and_ranks_by_their_environment() -> None:
    table = ProcessTable()
    table.look()
    with running(RANKS) as process:
        table.add("m", process.pid, ranked=True)

        def ranks() -> list[int]:
            table.look()
            return sorted(each.rank for each in table.of_member["m"].values())

        eventually(lambda: ranks() == [NO_RANK, 4, 5], "both ranks")
        assert all(table.process(pid) is each for pid, each in table.of_member["m"].items())
        assert table.process(os.getpid()) is None
        gone = [each for each in table.of_member["m"].values() if each.rank == 4]
        os.kill(gone[0].pid, 9)
        eventually(lambda: not gone[0].look(io=True) or stat_of(gone[0].pid) == "Z", "its end")
        table.forget(gone)
        assert len(table.of_member["m"]) == 2
    table.remove("m")
    assert table.of_member == {}


def stat_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


# Members -------------------------------------------------------------------------------------------------------------


def begin(local: Path, name: str, pid: int, **extra: object) -> None:
    folder = local / "members" / f"{name}-0"
    folder.mkdir(parents=True)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    state = {"pid": pid, "pid_start": start_ticks(pid), "boot_id": boot_id}
    plain = {"attempt": name, "member": 0, "epoch": 1, "env": {"AMPACITY_WORKLOAD": "w"}, **extra}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "member.json").write_text(json.dumps(plain))


def tell(local: Path, fact: str, name: str, *, end: str = "\n") -> None:
    line = {"fact": fact, "key": {"attempt": name, "member": 0, "epoch": 1}, "at": 1.0}
    with (local / "facts.jsonl").open("a") as file:
        file.write(json.dumps(line, separators=(",", ":")) + end)


def test_members_are_followed_by_the_facts(tmp_path: Path) -> None:
    feed = MemberFeed(str(tmp_path))
    assert feed.look() == feed.look()  # nothing is there yet
    begin(tmp_path, "old", os.getpid(), devices=[{"device": "n1/10", "milli": 500}, {"device": "n1/2", "milli": 1000}])
    tell(tmp_path, "member_started", "old")
    (found,) = feed.look().begun
    assert (found.name, found.supervisor, found.ranks) == ("old-0", os.getpid(), 0)
    assert [(use.device, use.share) for use in found.devices] == [("n1/2", 1.0), ("n1/10", 0.5)]
    begin(tmp_path, "new", os.getpid())
    tell(tmp_path, "member_started", "new", end="")
    assert feed.look().begun == ()  # the line is not whole yet
    (tmp_path / "facts.jsonl").open("a").write("\n")
    assert [each.name for each in feed.look().begun] == ["new-0"]
    tell(tmp_path, "member_exited", "old")
    assert feed.look().ended == ("old-0",)


def test_one_that_came_and_went_between_two_looks_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "facts.jsonl").touch()
    feed = MemberFeed(str(tmp_path))
    feed.look()
    begin(tmp_path, "brief", os.getpid())
    tell(tmp_path, "member_started", "brief")
    tell(tmp_path, "member_exited", "brief")
    assert feed.look().begun == ()


def test_a_replaced_file_and_dead_supervisors_are_seen(tmp_path: Path) -> None:
    with running("import sys; sys.stdin.read()") as process:
        begin(tmp_path, "a", process.pid)
        tell(tmp_path, "member_started", "a")
        feed = MemberFeed(str(tmp_path))
        assert [each.name for each in feed.look().begun] == ["a-0"]
    (tmp_path / "facts.jsonl").rename(tmp_path / "facts.old")
    (tmp_path / "facts.jsonl").write_text("not a fact\n")
    assert feed.look().ended == ("a-0",)


# Retention -----------------------------------------------------------------------------------------------------------


def test_ended_members_are_put_aside_and_the_oldest_dropped(tmp_path: Path) -> None:
    for number in range(5):
        for name in (f"member-a{number}-0.ring", f"rank-a{number}-0-1.ring"):
            (tmp_path / name).write_bytes(b"x" * 8192)
    (tmp_path / "host.ring").touch()
    put_aside_all_but(str(tmp_path), {"a4-0"})
    ended = tmp_path / ENDED
    assert sorted(path.name for path in tmp_path.glob("*.ring")) == [
        "host.ring", "member-a4-0.ring", "rank-a4-0-1.ring",
    ]  # fmt: skip
    for number in range(4):
        for path in ended.glob(f"*-a{number}-*"):
            os.utime(path, (1000.0 + number, 1000.0 + number))
    assert drop_old(str(tmp_path), 1010.0, kept_s=8.5) == 4  # a0 and a1
    assert drop_old(str(tmp_path), 1010.0, kept_s=100.0, most_bytes=20_000) == 2
    assert sorted(path.name for path in ended.iterdir()) == ["member-a3-0.ring", "rank-a3-0-1.ring"]
    put_aside(str(tmp_path), "a4-0")
    assert drop_old(str(tmp_path), time.time(), kept_s=1e12, most_files=1) == 3
