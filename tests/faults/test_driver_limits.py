"""Limits for real: what the kernel of this machine lets us limit is limited, and its end is told."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from driver_bench import Bench, key_of, wait_until

from ampacity.drivers.base import Limits
from ampacity.drivers.local.confine import Confinement
from ampacity.drivers.supervisor import device_filter
from ampacity.drivers.supervisor.cgroup_place import TREE, find_places
from ampacity.drivers.supervisor.processes import marked
from ampacity.model.attempt import CauseKind
from ampacity.model.ids import DeviceId
from ampacity.model.node import Device
from ampacity.model.resources import Allocation

PLACES = find_places()
GPU = Device(id=DeviceId("n1/0"), index=0, kind="H100", memory_bytes=80 * 10**9)
MEMORY_64MB = Limits(memory_bytes=64_000_000)
HOG = "b = bytearray(200_000_000); b[::4096] = b'x' * len(b[::4096]); print('done')"
PLAIN = Allocation(cpu_milli=500, memory_bytes=0)


def need(*controllers: str) -> None:
    missing = [name for name in controllers if name not in PLACES]
    if missing:
        pytest.skip(f"needs cgroups that this user may make for {', '.join(missing)}")


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "local")
    yield made
    made.clean_up()
    for _, base in PLACES.values():
        assert not [name for name in os.listdir(base) if name.startswith(made.driver._confinement._prefix)]


def test_the_node_says_what_limits_there(bench):
    (node,) = bench.driver.nodes()
    assert node.limits == Confinement(bench.folder).description
    assert str(node.limits) != "none"


def test_who_uses_more_memory_than_its_limit_is_told_so(bench):
    need("memory")
    key = bench.python(HOG, limits=MEMORY_64MB)
    cause = bench.exit_of(key)
    assert (cause.kind, cause.signal) == (CauseKind.OUT_OF_MEMORY, signal.SIGKILL)
    assert "its limit of 64 MB" in cause.message
    assert "resources.memory" in cause.message
    assert bench.texts(key) == []


def test_the_limit_holds_for_the_whole_tree_and_a_killed_part_is_the_cause(bench):
    need("memory")
    script = f'exec setsid {sys.executable} -I -S -c "{HOG}" || exit 1'
    key = bench.start("sh", "-c", f"sh -c '{script}'; exit 3".replace("exec ", ""), limits=MEMORY_64MB)
    cause = bench.exit_of(key)
    assert (cause.kind, cause.exit_code) == (CauseKind.OUT_OF_MEMORY, 3)
    assert "one of its processes was killed" in cause.message


def test_who_stays_below_its_limit_is_left_alone_though_killed_by_another(bench):
    need("memory")
    key = bench.start("sh", "-c", "kill -9 $$", limits=MEMORY_64MB)
    cause = bench.exit_of(key)
    assert (cause.kind, cause.signal) == (CauseKind.SIGNAL, signal.SIGKILL)
    assert "nor by the kernel" in cause.message


def test_the_supervisor_is_outside_and_the_whole_job_inside(bench):
    need("pids")
    key = bench.start("sh", "-c", "echo up; sleep 1000 & exec sleep 1000", limits=Limits(memory_bytes=1 << 30))
    bench.wait_text(key, "up")
    state = bench.state(key)
    group = bench.driver._member(key).cgroup()
    assert group.pids() >= {state["child_pid"]}
    assert state["pid"] not in group.pids()
    wait_until(lambda: marked(str(key)) == group.pids())
    bench.driver.ensure_stopped(key, grace_s=5, reason="enough")
    bench.exit_of(key)
    assert not any(Path(path).exists() for path in group.paths())


def test_a_bomb_of_forks_stays_within_its_number(bench):
    need("pids")
    script = """
import os, time
made = 0
try:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except BlockingIOError:
    print(made, flush=True)
os._exit(0)
"""
    key = bench.python(script, limits=Limits(processes=20), grace_s=0.1)
    assert bench.exit_of(key).completed
    assert bench.texts(key) == ["19"]


def test_cpu_is_shared_by_what_was_promised_and_capped_where_asked(bench):
    need("cpu")
    for member, cap in ((0, Limits(cpu_milli=500)), (1, Limits())):
        key = bench.start("sh", "-c", "echo up; exec sleep 1000", member=member, allocation=PLAIN, limits=cap)
        bench.wait_text(key, "up")
    capped, free = (
        Path(next(path for path in bench.driver._member(key_of(member)).cgroup().paths() if "cpu" in path))
        for member in (0, 1)
    )
    if PLACES["cpu"][0] == 2:
        assert [(each / "cpu.max").read_text().split()[0] for each in (capped, free)] == ["50000", "max"]
        assert (free / "cpu.weight").read_text() == "50\n"
    else:
        assert [(each / "cpu.cfs_quota_us").read_text() for each in (capped, free)] == ["50000\n", "-1\n"]
        assert (free / "cpu.shares").read_text() == "512\n"


def without_cgroups(bench: Bench) -> None:
    bench.driver._confinement = Confinement(bench.folder, {})


def test_without_cgroups_cpus_are_given_out_by_affinity(bench):
    without_cgroups(bench)
    ours = os.sched_getaffinity(0)
    script = "import os, time; print(sorted(os.sched_getaffinity(0)), os.nice(0), flush=True); time.sleep(1000)"
    half = Limits(cpu_milli=500)
    for member, limits in ((0, half), (1, half), (2, Limits(cpu_milli=1000 * len(ours))), (3, Limits())):
        key = bench.python(script, member=member, limits=limits)
        wait_until(lambda key=key: bench.texts(key), "its line")
    said = [bench.texts(key_of(member))[0] for member in range(4)]
    if len(ours) > 1:
        assert said[0] != said[1]
    nicer = f" {os.nice(0) + 5}"
    assert [line.endswith(nicer) for line in said] == [len(ours) > 1, len(ours) > 1, False, False]
    assert said[2] == said[3] == f"{sorted(ours)} {os.nice(0)}"


def test_without_cgroups_memory_is_watched(bench):
    without_cgroups(bench)
    key = bench.python(HOG.replace("print", "import time; time.sleep(1000); print"), limits=MEMORY_64MB)
    cause = bench.exit_of(key)
    assert cause.kind is CauseKind.OUT_OF_MEMORY
    assert "its limit of 64 MB (it used 2" in cause.message


@pytest.mark.parametrize("version", [1, 2])
def test_devices_that_were_not_given_cannot_be_opened(bench, tmp_path, monkeypatch, version):
    """A GPU's file is played by /dev/full, which all may open elsewhere."""
    if version == 1:
        need("devices")
        place = PLACES["devices"]
    else:
        need(TREE)
        place = PLACES[TREE]
        if not device_filter.available():
            pytest.skip("needs the right to load BPF programs")
    confinement = Confinement(bench.folder, {**PLACES, "devices": (version, place[1])})
    bench.driver._confinement = confinement
    monkeypatch.setattr("ampacity.drivers.local.confine.denials", lambda given, known: ["c 1:7 rwm", "c 195:0 rwm"])
    bench.driver._nodes = (replace(bench.driver._nodes[0], devices=(GPU,)),)
    key = bench.start("sh", "-c", "head -c1 /dev/zero | wc -c; head -c1 /dev/full; true")
    bench.exit_of(key)
    texts = bench.texts(key)
    assert texts[0] == "1"
    assert "Operation not permitted" in texts[1]
    with open("/dev/full", "rb") as outside:
        assert outside.read(1) == b"\0"
