"""The local driver on states that a kill, a reboot or a forger left on the disk: nothing runs twice, ends are told."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from driver_bench import WAIT, alive, key_of, starts, wait_until

from ampacity.drivers.supervisor import processes
from ampacity.drivers.supervisor.processes import boot_id, start_ticks
from ampacity.model.attempt import CauseKind, MemberExited, MemberStarted
from ampacity.model.codec import to_plain


def forged_state(**other: object) -> dict:
    return {"format": 1, "pid": 1, "pid_start": 1, "boot_id": boot_id(), "child_pid": None, "port": None} | other


def test_killed_before_asking_for_a_supervisor(bench):
    launch = bench.launch("sh", "-c", WAIT)
    folder = bench.driver._member(launch.key)
    folder.write_launch(launch, env={}, address="127.0.0.1", facts=str(bench.folder / "facts.jsonl"))
    bench.reopen()
    assert bench.facts() == []
    bench.driver.ensure_started(launch)
    bench.wait_text(launch.key, "up")
    assert starts(bench, launch.key) == 1


def test_killed_between_state_and_process(bench):
    key = key_of()
    bench.keys.add(key)
    bench.write(key, "member.json", {"format": 1, **to_plain(key)})
    bench.write(key, "state.json", forged_state(pid=2**22 - 3))
    bench.reopen()
    assert [cause.kind for cause in bench.exits(key)] == [CauseKind.SUPERVISOR_DIED]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"pid": "x"}', "null"])
def test_a_state_that_a_crash_of_the_machine_left_unreadable_is_an_end_and_no_new_start(bench, text):
    key = key_of()
    bench.write(key, "member.json", {"format": 1, **to_plain(key)})
    (bench.dir(key) / "state.json").write_text(text)
    bench.reopen()
    assert [cause.kind for cause in bench.exits(key)] == [CauseKind.SUPERVISOR_DIED]
    bench.driver.ensure_started(bench.launch("sh", "-c", WAIT))
    assert not (bench.dir(key) / "starts").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"at": 1, "cause": {"kind": "of tomorrow"}}'])
def test_an_unreadable_exit_file_is_still_an_end(bench, text):
    key = key_of()
    bench.write(key, "member.json", {"format": 1, **to_plain(key)})
    (bench.dir(key) / "exit.json").write_text(text)
    bench.reopen()
    assert [cause.kind for cause in bench.exits(key)] == [CauseKind.SUPERVISOR_DIED]
    bench.keys.add(key)


def test_a_folder_that_is_nobodys_does_not_keep_the_driver_from_opening(bench):
    (bench.folder / "members" / "empty").mkdir()
    (bench.folder / "members" / "odd").mkdir()
    (bench.folder / "members" / "odd" / "member.json").write_text('{"format": 1, "attempt": 7}')
    bench.reopen()
    assert bench.exit_of(bench.start("true")).completed


def test_a_member_that_deletes_its_own_folder_still_reports_its_end(bench):
    key = bench.start("sh", "-c", "cd /; rm -rf {member_dir}; exit 6")
    cause = bench.exit_of(key)
    assert (cause.kind, cause.exit_code) == (CauseKind.EXIT, 6)
    bench.keys.discard(key)


def test_killed_between_the_exit_file_and_its_fact(bench):
    key = bench.start("sh", "-c", "exit 7")
    bench.exit_of(key)
    bench.close_driver()
    facts = bench.folder / "facts.jsonl"
    kept = [line for line in facts.read_bytes().splitlines(keepends=True) if b"member_exited" not in line]
    facts.write_bytes(b"".join(kept))
    bench.open()
    (cause,) = bench.exits(key)
    assert (cause.kind, cause.exit_code) == (CauseKind.EXIT, 7)


def test_killed_in_the_middle_of_fencing(bench):
    key = key_of()
    bench.write(key, "stop.json", {"format": 1, **to_plain(key), "reason": "too late", "grace_s": 1})
    bench.reopen()
    (cause,) = bench.exits(key)
    assert (cause.kind, cause.message) == (CauseKind.STOPPED, "too late")
    bench.driver.ensure_started(bench.launch("sh", "-c", WAIT))
    assert not (bench.dir(key) / "starts").exists()


def test_torn_lines_among_the_facts_are_skipped(bench):
    facts = bench.folder / "facts.jsonl"
    with facts.open("ab") as file:
        file.write(b'not json\n\xff\xfe\n{"fact": "of tomorrow"}\n[]\n{"fact": "member_started", "key": {"att')
    key = bench.start("true")
    bench.exit_of(key)
    told = bench.facts()
    assert list(dict.fromkeys(type(fact) for fact in told)) == [MemberStarted, MemberExited]  # an end may come twice
    bench.reopen()
    assert bench.facts() == told


def test_after_a_reboot_members_ended_and_no_stranger_is_touched(bench):
    key = key_of()
    mine = os.getpid()
    bench.write(key, "member.json", {"format": 1, **to_plain(key)})
    bench.write(key, "state.json", forged_state(pid=mine, pid_start=start_ticks(mine), boot_id="the one before"))
    bench.reopen()
    (cause,) = bench.exits(key)
    assert cause.kind is CauseKind.NODE_REBOOTED
    assert cause.kind.is_interruption
    assert "restarted" in cause.message


def test_after_a_reboot_what_ran_has_ended_though_its_pids_live_again(bench, tmp_path, monkeypatch):
    """The boot id is doubled; supervisor and command run on, as processes of others with the same pids would."""
    key = bench.start("sh", "-c", WAIT)
    bench.wait_text(key, "up")
    state = bench.state(key)
    bench.close_driver()
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("11111111-2222-3333-4444-555555555555\n")
    os.kill(state["pid"], signal.SIGSTOP)
    with monkeypatch.context() as patched:
        patched.setattr(processes, "BOOT_ID_FILE", str(other_boot))
        held = bench.dir(key) / "lock"
        held.rename(bench.dir(key) / "lock.before")  # a reboot lets go of all locks
        bench.open()
        (cause,) = bench.exits(key)
        assert cause.kind is CauseKind.NODE_REBOOTED
        bench.driver.ensure_started(bench.launch("sh", "-c", WAIT))
        bench.driver.ensure_stopped(key, grace_s=0, reason="nobody may be hurt")
        bench.close_driver()
    assert alive(state["pid"])
    assert alive(state["child_pid"])
    assert starts(bench, key) == 1
    os.kill(state["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(state["child_pid"]))
    bench.open()
    assert not any(os.path.exists(path) for path in bench.driver._member(key).cgroup().paths())


def test_a_member_of_another_boot_may_have_run_though_its_state_was_lost_with_the_power(bench):
    key = key_of()
    bench.write(key, "member.json", {"format": 1, "boot_id": "the one before", **to_plain(key)})
    bench.keys.add(key)
    bench.driver.ensure_started(bench.launch("sh", "-c", WAIT))
    (cause,) = bench.exits(key)
    assert cause.kind is CauseKind.NODE_REBOOTED
    assert not (bench.dir(key) / "starts").exists()
    bench.reopen()
    assert len(bench.exits(key)) == 1


def test_a_pid_that_was_given_to_another_process_is_not_signalled(bench):
    key = key_of()
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        started = start_ticks(stranger.pid)
        assert started is not None
        bench.write(key, "member.json", {"format": 1, **to_plain(key)})
        bench.write(key, "state.json", forged_state(pid=stranger.pid, pid_start=started - 1))
        bench.driver.ensure_stopped(key, grace_s=0, reason="enough")
        assert bench.exit_of(key).kind is CauseKind.SUPERVISOR_DIED
        assert alive(stranger.pid)
        stranger.kill()


def test_facts_that_a_loss_of_power_took_away_hide_none_that_come_after(bench, tmp_path, monkeypatch):
    """The file lost its end, and by the time that it is read has grown again past where the cursor points."""
    facts = bench.folder / "facts.jsonl"
    for member in range(3):
        bench.exit_of(bench.start("true", member=member))
    cursor = bench.driver.facts(None).cursor
    bench.close_driver()
    lines = facts.read_bytes().splitlines(keepends=True)
    other_boot = tmp_path / "boot_id"
    other_boot.write_text("11111111-2222-3333-4444-555555555555\n")
    monkeypatch.setattr(processes, "BOOT_ID_FILE", str(other_boot))
    with facts.open("r+b") as file:
        file.truncate(sum(map(len, lines[:2])))
        file.seek(0, os.SEEK_END)
        file.writelines(lines)
    bench.open()
    assert len(bench.driver.facts(cursor).facts) == 2 + len(lines)
    monkeypatch.undo()


def test_a_cursor_of_another_file_reads_from_the_beginning(bench):
    key = bench.start("true")
    bench.exit_of(key)
    page = bench.driver.facts(None)
    assert bench.driver.facts(page.cursor).facts == ()
    bench.close_driver()
    facts = bench.folder / "facts.jsonl"
    facts.rename(bench.folder / "facts.old")
    facts.write_bytes((bench.folder / "facts.old").read_bytes())
    bench.open()
    assert bench.driver.facts(page.cursor).facts == page.facts
