"""Nasty process trees: sessions of their own, cleared environments, other names, endless forks. Nothing is left."""

from __future__ import annotations

import os
import signal

import pytest
from driver_bench import Bench, alive, wait_until

from ampacity.drivers.base import Limits
from ampacity.drivers.local.confine import Confinement
from ampacity.drivers.supervisor.cgroup_place import TREE, find_places
from ampacity.drivers.supervisor.processes import marked
from ampacity.model.attempt import CauseKind

PLACES = find_places()
NASTY = """
import os, signal, sys, time
PLACE = "{member_dir}"
def hide(name):
    os.setsid()
    if os.fork():
        os._exit(0)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    with open(f"/proc/self/comm", "w") as comm:
        comm.write("kworker/0:1")
    told = f"echo $$ > {PLACE}/{name}.new; mv {PLACE}/{name}.new {PLACE}/{name}"
    script = f"trap '' TERM; {told}; while :; do sleep 0.05; done"
    os.execve("/bin/sh", ["[kthreadd]", "-c", script], {})
for name in ("first", "second"):
    pid = os.fork()
    if pid == 0:
        hide(name)
    os.waitpid(pid, 0)
for name in ("first", "second"):
    while not os.path.exists(f"{PLACE}/{name}"):
        time.sleep(0.005)
print("up", flush=True)
"""
WAIT = "time.sleep(1000)\n"
FORKS_FOR_EVER = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("up", flush=True)
while True:
    try:
        if os.fork():
            os._exit(0)
        os.setsid()
    except OSError:
        pass
"""


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "local")
    yield made
    made.clean_up()


def hidden(bench: Bench, key) -> list[int]:
    return [int((bench.dir(key) / name).read_text()) for name in ("first", "second")]


def none_is_left(bench: Bench, key, pids: list[int]) -> None:
    assert not any(alive(pid) for pid in pids)
    assert not marked(str(key))
    group = bench.driver._member(key).cgroup()
    assert not group.pids()
    assert not any(os.path.exists(path) for path in group.paths())


@pytest.mark.parametrize("cgroups", [True, False])
def test_when_the_command_ends_so_does_what_hid_from_it(bench, cgroups):
    if not cgroups:
        bench.driver._confinement = Confinement(bench.folder, {})
    key = bench.python(NASTY, grace_s=0.2)
    assert bench.exit_of(key).completed
    none_is_left(bench, key, hidden(bench, key))


@pytest.mark.parametrize("cgroups", [True, False])
def test_a_stop_reaches_what_hides(bench, cgroups):
    if not cgroups:
        bench.driver._confinement = Confinement(bench.folder, {})
    key = bench.python(NASTY + WAIT)
    bench.wait_text(key, "up")
    bench.driver.ensure_stopped(key, grace_s=0.2, reason="enough")
    assert bench.exit_of(key).kind is CauseKind.STOPPED
    none_is_left(bench, key, hidden(bench, key))


def test_with_a_cgroup_what_hides_is_found_though_the_supervisor_was_killed(bench):
    if not PLACES:
        pytest.skip("needs cgroups that this user may make")
    key = bench.python(NASTY + WAIT)
    bench.wait_text(key, "up")
    pids = hidden(bench, key)
    assert all(alive(pid) for pid in pids)
    assert not set(pids) & marked(str(key))
    bench.kill_supervisor(key)
    assert bench.exit_of(key).kind is CauseKind.SUPERVISOR_DIED
    none_is_left(bench, key, pids)


@pytest.mark.parametrize("controller", [TREE, "pids"])
def test_who_forks_without_end_is_caught(bench, controller):
    """With v2 by the kernel in one step; with v1 by looking again until nothing is seen."""
    if controller not in PLACES:
        pytest.skip(f"needs a cgroup ({controller}) that this user may make")
    bench.driver._confinement = Confinement(bench.folder, {controller: PLACES[controller]})
    key = bench.python(FORKS_FOR_EVER, limits=Limits(processes=50))
    bench.wait_text(key, "up")
    bench.driver.ensure_stopped(key, grace_s=0, reason="enough")
    bench.exit_of(key)
    none_is_left(bench, key, [])


def test_a_process_of_the_cgroup_that_is_nobodys_child_ends_with_the_member(bench):
    """Such as a command that somebody runs in the member from a terminal."""
    if "pids" not in PLACES:
        pytest.skip("needs cgroups that this user may make")
    key = bench.start("sh", "-c", "echo up; exec sleep 1000")
    bench.wait_text(key, "up")
    group = bench.driver._member(key).cgroup()
    guest = os.fork()
    if guest == 0:
        try:
            for path in group.paths():
                with open(f"{path}/cgroup.procs", "w") as procs:
                    procs.write("0")
            os.execv("/bin/sleep", ["sleep", "1000"])
        finally:
            os._exit(1)
    wait_until(lambda: guest in group.pids())
    os.kill(bench.state(key)["child_pid"], signal.SIGKILL)
    assert os.waitpid(guest, 0)[1] in (signal.SIGTERM, signal.SIGKILL)
    assert bench.exit_of(key).signal == signal.SIGKILL
