"""How the local driver runs one member: its environment, setup, output, limits, and why it says that it ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from driver_bench import NODE, Bench, alive, key_of, wait_until

from ampacity.drivers.local.folder import MemberFolder
from ampacity.drivers.local.parent_link import ParentLink
from ampacity.model.attempt import CauseKind, MemberExited, MemberPreparing, MemberStarted
from ampacity.model.errors import LaunchFailed
from ampacity.model.ids import DeviceId
from ampacity.model.node import Device
from ampacity.model.resources import Allocation, DeviceShare

DEVICES = tuple(Device(id=DeviceId(f"n1/{i}"), index=i, kind="H100", memory_bytes=80 * 10**9) for i in range(4))


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path / "local", (replace(NODE, devices=DEVICES),))
    yield made
    made.clean_up()


def environment_of(bench: Bench, **more: object) -> dict[str, str]:
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    key = bench.python(script, **more)
    assert bench.exit_of(key).completed
    return json.loads(bench.texts(key)[0])


def test_a_member_knows_who_and_where_it_is(bench):
    env = environment_of(bench, env={"LR": "3e-4", "CONFIG": "{member_dir}/c.json"}, port=0)
    folder = str(bench.dir(key_of()))
    assert env["AMPACITY_MEMBER"] == "w1.0.1-0"
    assert env["AMPACITY_MEMBER_DIR"] == folder
    assert env["AMPACITY_FACTS"] == str(bench.folder / "facts.jsonl")
    assert env["LR"] == "3e-4"
    assert env["CONFIG"] == f"{folder}/c.json"
    assert env["PATH"] == os.environ["PATH"]
    (started,) = [fact for fact in bench.facts() if isinstance(fact, MemberStarted)]
    assert started.endpoint == f"127.0.0.1:{env['PORT']}"


def test_only_the_given_devices_are_visible(bench):
    shares = (DeviceShare(device="n1/3", milli=1000), DeviceShare(device="n1/1", milli=500))
    allocation = Allocation(cpu_milli=1000, memory_bytes=0, devices=shares)
    assert environment_of(bench, allocation=allocation)["CUDA_VISIBLE_DEVICES"] == "1,3"
    env = environment_of(bench, member=1)
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert "PORT" not in env
    wrong = Allocation(cpu_milli=1000, memory_bytes=0, devices=(DeviceShare(device="n1/9", milli=1000),))
    with pytest.raises(LaunchFailed):
        bench.driver.ensure_started(replace(bench.launch("true", member=2), allocation=wrong))
    bench.keys.discard(key_of(2))


def test_a_control_plane_inside_a_member_does_not_hand_its_own_identity_on(tmp_path, monkeypatch):
    monkeypatch.setenv("AMPACITY_CHECKPOINT_DIR", "/outer")
    monkeypatch.setenv("PORT", "1")
    monkeypatch.setenv("AMPACITY_HOME", "/home")
    bench = Bench(tmp_path / "local")
    env = environment_of(bench)
    bench.clean_up()
    assert "AMPACITY_CHECKPOINT_DIR" not in env
    assert "PORT" not in env
    assert env["AMPACITY_HOME"] == "/home"


def test_placeholders_a_workdir_and_a_chosen_port(bench, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = bench.start("sh", "-c", "echo {port} {member_dir} $PWD ${x}", port=port, workdir=str(tmp_path))
    bench.exit_of(key)
    assert bench.texts(key) == [f"{port} {bench.dir(key)} {tmp_path}"]
    private = bench.start("pwd", member=1)
    bench.exit_of(private)
    assert bench.texts(private) == [str(bench.dir(private) / "work")]


def test_ports_given_to_members_lie_outside_the_ephemeral_range_and_differ(bench):
    keys = [bench.start("sleep", "1000", member=member, port=0) for member in range(5)]
    ports = {bench.state(key)["port"] for key in keys}
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert len(ports) == 5
    assert all(not low <= port <= high for port in ports)


# Setup ----------------------------------------------------------------------------------------------------------


def test_setup_runs_first_and_is_told(bench):
    key = bench.start("sh", "-c", "echo run; cat made", setup="echo setup\necho content > made")
    assert bench.exit_of(key).completed
    assert bench.texts(key) == ["setup", "run", "content"]
    assert [type(fact) for fact in bench.facts()] == [MemberPreparing, MemberStarted, MemberExited]


def test_a_failed_setup_is_the_cause(bench):
    key = bench.start("sh", "-c", "echo run", setup="echo broken >&2\nexit 3")
    cause = bench.exit_of(key)
    assert (cause.kind, cause.exit_code) == (CauseKind.SETUP_FAILED, 3)
    assert cause.last_lines == ("broken",)
    assert [type(fact) for fact in bench.facts()] == [MemberPreparing, MemberExited]


def test_a_stop_during_setup_never_starts_the_command(bench):
    key = bench.start("sh", "-c", "echo run", setup="echo preparing; sleep 1000")
    bench.wait_text(key, "preparing")
    bench.driver.ensure_stopped(key, grace_s=5, reason="enough")
    assert bench.exit_of(key).kind is CauseKind.STOPPED
    assert bench.texts(key) == ["preparing"]


def test_what_setup_leaves_in_the_background_serves_the_command_and_ends_with_it(bench):
    setup = "sh -c 'while true; do echo tick; sleep 0.02; done' & echo $! > helper"
    key = bench.start("sh", "-c", "cat helper; until [ -e {member_dir}/go ]; do sleep 0.02; done", setup=setup)
    wait_until(lambda: any(text.isdigit() for text in bench.texts(key)))
    seen = bench.texts(key).count("tick")
    wait_until(lambda: bench.texts(key).count("tick") > seen)
    helper = int(next(text for text in bench.texts(key) if text.isdigit()))
    assert alive(helper)
    (bench.dir(key) / "go").touch()
    assert bench.exit_of(key).completed
    assert not alive(helper)


# Output ---------------------------------------------------------------------------------------------------------


def test_lines_are_there_at_once_with_time_and_stream(bench):
    key = bench.start("sh", "-c", "echo one; echo two >&2; printf three; exec sleep 1000")
    bench.wait_text(key, "two")
    lines = bench.driver.logs(key, None).lines
    assert [(line.stream, line.text) for line in lines] == [("out", "one"), ("err", "two")]
    bench.driver.ensure_stopped(key, grace_s=5, reason="enough")
    bench.exit_of(key)
    assert bench.texts(key) == ["one", "two", "three"]
    raw = (bench.dir(key) / "output.log").read_bytes().split(b"\n")[0]
    when, rank, stream, text = raw.split(b" ")
    assert len(when.partition(b".")[2]) == 6
    assert (rank, stream, text) == (b"-", b"out", b"one")


def test_much_odd_output_comes_through_whole(bench):
    script = """
import sys
out = sys.stdout.buffer
out.write(b"bad \\xff byte\\n")
out.write("é".encode() * 20_000 + b"\\n")
out.write(b"".join(b"%d\\n" % n for n in range(50_000)))
out.write(b"10%\\r20%\\r30%\\r\\n")
"""
    key = bench.python(script)
    assert bench.exit_of(key).completed
    lines, cursor, ended = [], None, False
    while not ended:
        page = bench.driver.logs(key, cursor, limit=10_000)
        lines.extend(line.text for line in page.lines)
        cursor, ended = page.cursor, page.ended
    assert lines[0] == "bad \ufffd byte"
    assert "".join(lines[1:4]) == "é" * 20_000
    assert lines[4:-1] == [str(number) for number in range(50_000)]
    assert lines[-1] == "30%"


# Ends -----------------------------------------------------------------------------------------------------------


def test_a_command_that_cannot_be_started_says_what_is_missing(bench, tmp_path):
    bad = tmp_path / "bad"
    bad.write_text("#!/no/such/interpreter\n")
    bad.chmod(0o755)
    plain = tmp_path / "plain"
    plain.write_text("text")
    cases = [
        (("no-such-command",), {}, "command not found: no-such-command"),
        (("true",), {"workdir": str(tmp_path / "absent")}, f"working directory {tmp_path}/absent does not exist"),
        (("true",), {"workdir": str(plain)}, "cannot be entered"),
        ((str(bad),), {}, "interpreter"),
        ((str(plain),), {}, "not executable"),
        ((), {}, "cannot be started"),
    ]
    for member, (argv, more, text) in enumerate(cases):
        cause = bench.exit_of(bench.start(*argv, member=member, **more))
        assert cause.kind is CauseKind.LAUNCH_FAILED
        assert text in cause.message


def test_the_time_limit_ends_it(bench):
    key = bench.start("sleep", "1000", max_duration_s=0.2)
    cause = bench.exit_of(key)
    assert (cause.kind, cause.message) == (CauseKind.TIME_LIMIT, "it ran longer than its limit of 0.2 s")


def test_the_cause_that_an_agent_left_counts(bench):
    left = {"kind": "signal", "exit_code": None, "signal": 11, "rank": 3, "message": "rank 3 crashed"}
    write = "cat > {member_dir}/cause.json; exit 1"
    key = bench.start("sh", "-c", f"echo '{json.dumps(left)}' | {{ {write}; }}")
    cause = bench.exit_of(key)
    assert (cause.kind, cause.signal, cause.rank, cause.message) == (CauseKind.SIGNAL, 11, 3, "rank 3 crashed")


@pytest.mark.parametrize("left", ['{"kind": "of tomorrow"}', '{"kind": "exit", "exit_code": "1"}', "torn {"])
def test_a_cause_that_makes_no_sense_is_not_believed(bench, left):
    key = bench.start("sh", "-c", "cp {member_dir}/left {member_dir}/cause.json; exit 5", files={"left": left})
    assert bench.exit_of(key).exit_code == 5


def test_file_names_of_the_supervisor_or_outside_are_refused(bench):
    for name in ("member.json", "state.json", "work/x", "../x", "/etc/x", "a//b", ""):
        with pytest.raises(LaunchFailed):
            bench.driver.ensure_started(bench.launch("true", files={name: "x"}))
    bench.start("true", files={"below/a": "x"})
    bench.exit_of(key_of())
    assert bench.driver.files(key_of(), "below/a") == b"x"


def test_links_in_a_members_folder_lead_nowhere(bench):
    key = bench.start("sh", "-c", "ln -s /etc {member_dir}/out; mkfifo {member_dir}/pipe")
    bench.exit_of(key)
    for path in ("out/passwd", "out", "pipe", "work"):
        with pytest.raises(Exception, match="file"):
            bench.driver.files(key, path)


def test_signals_go_to_the_main_process(bench):
    key = bench.start("sh", "-c", "trap 'echo got it; exit 0' USR1; echo up; while true; do sleep 0.02; done")
    bench.wait_text(key, "up")
    bench.driver.signal(key, 10)
    assert bench.exit_of(key).completed
    assert bench.texts(key) == ["up", "got it"]


def test_a_supervisor_runs_on_python_3_9(tmp_path):
    python = os.environ.get("AMPACITY_TEST_PYTHON39") or shutil.which("python3.9")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs a python3.9 that works, on PATH or in AMPACITY_TEST_PYTHON39")
    bench = Bench(tmp_path / "local")
    launch = bench.launch("sh", "-c", "echo hello; exit 4", setup="echo first", port=0)
    bench.kill_parent()
    link = ParentLink(bench.folder, python=python)
    folder = MemberFolder(str(bench.dir(launch.key)))
    folder.write_launch(launch, env={}, address="127.0.0.1", facts=str(bench.folder / "facts.jsonl"))
    assert link.ask(folder.path, dict(os.environ)) == "started"
    cause = bench.exit_of(launch.key)
    assert (cause.exit_code, cause.last_lines) == (4, ("first", "hello"))
    link.close()
    bench.clean_up()
