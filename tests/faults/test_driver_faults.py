"""The local driver when things are killed, or want disk and memory: nothing runs twice or stays, ends are told."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from driver_bench import NODE, WAIT, Bench, alive, key_of, starts, wait_until

from ampacity.drivers.local.parent_link import PARENT_SCRIPT
from ampacity.drivers.supervisor import processes
from ampacity.drivers.supervisor.processes import marked
from ampacity.model.attempt import CauseKind
from ampacity.model.errors import DriverUnavailable, InvalidSpec

# Kills ----------------------------------------------------------------------------------------------------------


def test_members_outlive_the_warm_parent_and_a_new_one_serves_on(bench):
    old = bench.start("sh", "-c", WAIT)
    bench.wait_text(old, "up")
    before = bench.parent_pid()
    bench.kill_parent()
    new = bench.start("sh", "-c", WAIT, member=1)
    bench.wait_text(new, "up")
    assert bench.parent_pid() != before
    assert alive(bench.state(old)["child_pid"])
    bench.driver.ensure_stopped(old, grace_s=5, reason="enough")
    assert bench.exit_of(old).kind is CauseKind.STOPPED


def test_a_killed_supervisor_takes_all_its_processes_with_it(bench):
    key = bench.start("sh", "-c", "setsid sh -c 'echo $$ > {member_dir}/orphan; exec sleep 1000' & " + WAIT)
    bench.wait_text(key, "up")
    orphan_file = bench.dir(key) / "orphan"
    wait_until(lambda: orphan_file.exists() and orphan_file.read_text().strip())
    child, orphan = bench.state(key)["child_pid"], int(orphan_file.read_text())
    bench.kill_supervisor(key)
    cause = bench.exit_of(key)
    assert cause.kind is CauseKind.SUPERVISOR_DIED
    assert cause.last_lines == ("up",)
    assert not alive(child)
    assert not alive(orphan)
    bench.driver.ensure_started(bench.launch("sh", "-c", WAIT))
    assert starts(bench, key) == 1


def test_a_supervisor_killed_while_no_driver_looks_is_found_at_the_next_start(bench):
    key = bench.start("sh", "-c", WAIT)
    bench.wait_text(key, "up")
    pid = bench.state(key)["pid"]
    bench.close_driver()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))
    bench.open()
    assert [cause.kind for cause in bench.exits(key)] == [CauseKind.SUPERVISOR_DIED]
    bench.reopen()
    assert len(bench.exits(key)) == 1


def test_a_driver_killed_with_its_process_is_replaced_and_the_member_runs_on(bench):
    key = key_of(5)
    bench.keys.add(key)
    script = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from driver_bench import Bench
from pathlib import Path
bench = Bench(Path({str(bench.folder)!r}))
bench.start("sh", "-c", {WAIT!r}, member=5)
print("started", flush=True)
time.sleep(1000)
"""
    bench.close_driver()
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=Path(__file__).parent) as control:
        assert control.stdout is not None
        assert control.stdout.readline() == b"started\n"
        control.kill()
    bench.open()
    bench.wait_text(key, "up")
    assert alive(bench.state(key)["child_pid"])
    bench.driver.ensure_started(bench.launch("sh", "-c", WAIT, member=5))
    assert starts(bench, key) == 1


def test_a_client_that_hangs_up_has_started_its_member_once(bench):
    key = bench.start("true", member=1)
    bench.exit_of(key)
    launch = bench.launch("sh", "-c", WAIT)
    folder = bench.driver._member(launch.key)
    folder.write_launch(launch, env={}, address="127.0.0.1", facts=str(bench.folder / "facts.jsonl"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(bench.folder / "parent.sock"))
        client.sendall(json.dumps({"folder": folder.path, "env": dict(os.environ)}).encode() + b"\n")
    wait_until(lambda: folder.has("state.json"))
    bench.driver.ensure_started(launch)
    bench.wait_text(launch.key, "up")
    assert starts(bench, launch.key) == 1


def spares(bench: Bench) -> list[int]:
    """Children of the parent that hold no member."""
    held = {bench.state(key)["pid"] for key in bench.keys if (bench.dir(key) / "state.json").exists()}
    parent = bench.parent_pid()
    return [pid for pid in processes.descendants(parent) - held if processes.parent_of(pid) == parent]


def test_a_start_does_without_its_spare_process_and_the_spare_does_not_outlive_the_parent(bench):
    wait_until(lambda: len(spares(bench)) == 1, "a spare")
    os.kill(spares(bench)[0], signal.SIGKILL)
    first = bench.start("sh", "-c", WAIT)
    bench.wait_text(first, "up")
    wait_until(lambda: len(spares(bench)) == 1, "a new spare")
    (spare,) = spares(bench)
    second = bench.start("sh", "-c", WAIT, member=1)
    assert bench.state(second)["pid"] == spare
    large = bench.start("sh", "-c", WAIT, member=2, secret_files={"key": os.urandom(100_000)})
    bench.wait_text(large, "up")
    wait_until(lambda: len(spares(bench)) == 1, "a third spare")
    (spare,) = spares(bench)
    bench.kill_parent()
    wait_until(lambda: not alive(spare), "the spare's end")
    assert [starts(bench, key) for key in (first, second, large)] == [1, 1, 1]


def test_there_is_one_parent_per_folder(bench):
    bench.exit_of(bench.start("true"))
    command = [sys.executable, "-I", "-S", str(PARENT_SCRIPT), str(bench.folder)]
    second = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=30)
    assert second.stdout == b"taken\n"


@pytest.mark.parametrize("seed", [1, 2])
def test_in_a_storm_of_kills_each_member_begins_at_most_once_and_each_end_is_told(bench, seed):
    """Members are started over and over while the parent, supervisors and the driver are killed at any moment."""
    dice = random.Random(seed)
    keys = [key_of(member) for member in range(16)]
    over = threading.Event()

    def kill_about() -> None:
        while not over.wait(dice.uniform(0.0, 0.02)):
            victims = [bench.folder / "parent.lock", *bench.folder.glob("members/*/state.json")]
            victim = dice.choice(victims[:1] * 2 + victims)
            try:
                text = victim.read_text()
                pid = json.loads(text)["pid"] if victim.suffix == ".json" else int(text)
                if Path(f"/proc/{pid}/comm").read_text().startswith("ampacity-"):
                    os.kill(pid, signal.SIGKILL)
            except (OSError, ValueError):
                continue

    killer = threading.Thread(target=kill_about)
    killer.start()
    waiting = set(keys)
    for _ in range(60):
        for key in dice.sample(sorted(waiting), k=len(waiting)):
            try:
                bench.driver.ensure_started(bench.launch("sh", "-c", WAIT, member=key.member))
            except DriverUnavailable:
                continue
            waiting.discard(key)
        if dice.random() < 0.3:
            bench.reopen()
        if not waiting:
            break
    over.set()
    killer.join()
    assert not waiting
    bench.reopen()
    for key in keys:
        bench.driver.ensure_stopped(key, grace_s=5, reason="the storm is over")
        assert bench.exit_of(key).kind in (CauseKind.STOPPED, CauseKind.SUPERVISOR_DIED)
        assert not marked(str(key))
        began = bench.dir(key) / "starts"
        assert not began.exists() or began.read_text().count("began") <= 1


# Orphans and stops ----------------------------------------------------------------------------------------------

DOUBLE_FORK = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        {clear}
        open("{{member_dir}}/orphan", "w").write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
os.wait()
while not os.path.exists("{{member_dir}}/orphan"): time.sleep(0.005)
"""


@pytest.mark.parametrize(
    "clear", ["pass", "os.execve('/bin/sh', ['sh', '-c', 'echo $$ > {member_dir}/orphan; exec sleep 1000'], {})"]
)
def test_no_orphan_is_left_though_it_hid_well(bench, clear):
    key = bench.python(DOUBLE_FORK.replace("{clear}", clear).replace("{{", "{").replace("}}", "}"), grace_s=0.2)
    cause = bench.exit_of(key)
    orphan = int((bench.dir(key) / "orphan").read_text())
    assert not alive(orphan)
    assert not marked(str(key))
    assert cause.kind is CauseKind.COMPLETED


def test_who_does_not_heed_a_stop_is_killed_after_its_grace(bench):
    key = bench.start("sh", "-c", "trap 'echo heard' TERM; echo up; while true; do sleep 0.05; done")
    bench.wait_text(key, "up")
    bench.driver.ensure_stopped(key, grace_s=0.3, reason="enough")
    cause = bench.exit_of(key)
    assert (cause.kind, cause.signal) == (CauseKind.STOPPED, signal.SIGKILL)
    assert "heard" in bench.texts(key)


def test_a_later_stop_can_shorten_the_grace(bench):
    key = bench.start("sh", "-c", "trap 'echo heard' TERM; echo up; while true; do sleep 0.05; done")
    bench.wait_text(key, "up")
    bench.driver.ensure_stopped(key, grace_s=1000, reason="enough")
    bench.wait_text(key, "heard")
    bench.driver.ensure_stopped(key, grace_s=0, reason="now")
    cause = bench.exit_of(key)
    assert (cause.kind, cause.message) == (CauseKind.STOPPED, "enough")
    assert bench.texts(key).count("heard") == 1


def test_the_grace_belongs_to_the_whole_member_not_only_to_its_shell(bench):
    save = "trap 'sleep 0.2; echo saved; exit 0' TERM; echo up; while true; do sleep 0.05; done"
    key = bench.start("sh", "-c", f'sh -c "{save}"; true')
    bench.wait_text(key, "up")
    bench.driver.ensure_stopped(key, grace_s=20, reason="enough")
    bench.exit_of(key)
    assert "saved" in bench.texts(key)


def test_a_supervisor_told_to_end_from_outside_counts_as_an_interruption(bench):
    key = bench.start("sh", "-c", WAIT)
    bench.wait_text(key, "up")
    os.kill(bench.state(key)["pid"], signal.SIGTERM)
    cause = bench.exit_of(key)
    assert cause.kind.is_interruption
    assert "SIGTERM" in cause.message


# Want of disk and memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "kind"), [(1, CauseKind.DISK_FULL), (0, CauseKind.COMPLETED)])
def test_a_full_disk_loses_lines_but_not_the_member(bench, code, kind):
    bench.dir(key_of()).mkdir(parents=True)
    (bench.dir(key_of()) / "output.log").symlink_to("/dev/full")
    key = bench.start("sh", "-c", f"echo one; echo two; exit {code}")
    cause = bench.exit_of(key)
    assert (cause.kind, cause.exit_code) == (kind, code)
    assert "2 lines" in cause.message


def test_the_end_is_written_though_the_disk_is_full(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        bench = Bench(small / "local")
        key = bench.start("sh", "-c", "echo up; cat /dev/zero > {member_dir}/work/big; exit 9", workdir="/")
        bench.dir(key).joinpath("work").mkdir(exist_ok=True)
        wait_until(lambda: (bench.dir(key) / "exit.json").exists(), "exit.json")
        cause = json.loads((bench.dir(key) / "exit.json").read_text())["cause"]
        assert cause["exit_code"] == 9
        for big in small.rglob("big"):
            big.unlink()
        bench.reopen()
        assert bench.exit_of(key).exit_code == 9
        bench.clean_up()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_the_kernels_out_of_memory_killer_is_told_from_a_kill(bench):
    group = Path("/sys/fs/cgroup/memory/ampacity-test") if Path("/sys/fs/cgroup/memory").is_dir() else None
    group = group or Path("/sys/fs/cgroup/ampacity-test")
    limit = group / ("memory.limit_in_bytes" if "memory/" in str(group) else "memory.max")
    try:
        group.mkdir(exist_ok=True)
        limit.write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"needs a memory cgroup that this user may make: {error}")
    hog = f"echo $$ > {group}/cgroup.procs && exec {sys.executable} -I -S -c 'bytearray(1 << 29).count(1)'"
    key = bench.start("sh", "-c", hog)
    cause = bench.exit_of(key)
    group.rmdir()
    assert (cause.kind, cause.signal) == (CauseKind.OUT_OF_MEMORY, signal.SIGKILL)


def test_a_plain_kill_says_that_nobody_here_sent_it(bench):
    key = bench.start("sh", "-c", "kill -9 $$")
    cause = bench.exit_of(key)
    assert (cause.kind, cause.signal) == (CauseKind.SIGNAL, signal.SIGKILL)
    assert "not sent by Ampacity" in cause.message


def test_two_nodes_of_one_name_are_refused(tmp_path):
    with pytest.raises(InvalidSpec, match="n1"):
        Bench(tmp_path / "local", (NODE, NODE))


def test_a_folder_with_a_very_long_path_works(tmp_path):
    folder = tmp_path / ("deep" * 20) / ("deeper" * 15) / "local"
    folder.parent.mkdir(parents=True)
    bench = Bench(folder, (NODE,))
    assert bench.exit_of(bench.start("true")).completed
    bench.clean_up()
